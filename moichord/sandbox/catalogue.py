"""The patients that the stand-in metadata API knows: invented animals, each with its own kind of blood.

Owns the catalogue as plain data. It must not know HTTP, DICOM or pictures. No error leaves it.
"""

import zlib
from dataclasses import dataclass
from enum import StrEnum

from moichord.sample import Api

KEYS = {
    Api.METADATA: "sandbox-metadata-key",
    Api.UPLOAD: "sandbox-upload-key",
    Api.ANALYTICS: "sandbox-analytics-key",
}


class Blood(StrEnum):
    """What red cells look like under the microscope."""

    MAMMAL = "mammal"
    CAMELID = "camelid"
    BIRD = "bird"
    REPTILE = "reptile"


@dataclass(frozen=True, slots=True)
class Animal:
    """One patient as the laboratory's system knows it."""

    name: str
    species: str
    test_type: str
    clinic: str
    blood: Blood = Blood.MAMMAL

    def reply(self) -> dict[str, str]:
        """The metadata API's answer for this patient."""
        return {
            "patient-name": self.name,
            "request_species": self.species,
            "test_type": self.test_type,
            "clinic-name": self.clinic,
        }


# Exactly one record is not pure ASCII (MO-1007), so that both cases can be rehearsed on purpose.
CATALOGUE = {
    "MO-1001": Animal("Biscuit", "Dog", "blood-smear-standard", "Harbour Street Veterinary Clinic"),
    "MO-1002": Animal("Miso", "Cat", "blood-smear-standard", "Harbour Street Veterinary Clinic"),
    "MO-1003": Animal("Admiral", "Grey parrot", "avian-differential", "Northfield Bird Hospital", Blood.BIRD),
    "MO-1004": Animal("Sir Walter", "Llama", "blood-smear-standard", "Oakridge Farm Practice", Blood.CAMELID),
    "MO-1005": Animal("Pebble", "Hermann's tortoise", "reptile-differential", "Warmstone Exotics", Blood.REPTILE),
    "MO-1006": Animal("Juniper", "Horse", "haemoparasite-screen", "Oakridge Farm Practice"),
    "MO-1007": Animal("Żubr", "Ferret", "blood-smear-standard", "Tierklinik Grünau"),
    "MO-1008": Animal("Pepper", "Hen", "avian-differential", "Northfield Bird Hospital", Blood.BIRD),
    "MO-1009": Animal("Nimbus", "Alpaca", "haemoparasite-screen", "Oakridge Farm Practice", Blood.CAMELID),
    "MO-1010": Animal("Marmalade", "Guinea pig", "blood-smear-standard", "Warmstone Exotics"),
}

_NAMES = ("Clover", "Domino", "Fable", "Hazel", "Indigo", "Maple", "Olive", "Quill", "Rusty", "Sorrel")
_SPECIES = (("Dog", Blood.MAMMAL), ("Cat", Blood.MAMMAL), ("Rabbit", Blood.MAMMAL), ("Budgerigar", Blood.BIRD))


def invented(sample_id: str) -> Animal:
    """A patient for a sample ID that the catalogue does not know: always the same one for the same ID."""
    number = zlib.crc32(sample_id.encode("utf-8", "surrogateescape"))
    species, blood = _SPECIES[number // len(_NAMES) % len(_SPECIES)]
    return Animal(
        _NAMES[number % len(_NAMES)], species, "blood-smear-standard", "Harbour Street Veterinary Clinic", blood
    )
