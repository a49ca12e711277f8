BEGIN TRANSACTION;
CREATE TABLE arrivals (
	folder_name BLOB NOT NULL, 
	sample_id VARCHAR, 
	reason TEXT NOT NULL, 
	manifest VARCHAR NOT NULL, 
	first_seen_at DOUBLE NOT NULL, 
	last_change_at DOUBLE NOT NULL, 
	file_count INTEGER NOT NULL, 
	image_count INTEGER NOT NULL, 
	size INTEGER NOT NULL, 
	PRIMARY KEY (folder_name)
);
INSERT INTO "arrivals" VALUES(X'6172726976696E67','arriving','still arriving','m1',10.0,20.0,3,2,3000);
INSERT INTO "arrivals" VALUES(X'636166E92E64636D',NULL,'no sample ID','m1',10.0,20.0,3,2,3000);
CREATE TABLE attempts (
	sample_id VARCHAR NOT NULL, 
	last_attempt INTEGER NOT NULL, 
	PRIMARY KEY (sample_id)
);
INSERT INTO "attempts" VALUES('done',1);
INSERT INTO "attempts" VALUES('failed',1);
INSERT INTO "attempts" VALUES('cancelled',1);
INSERT INTO "attempts" VALUES('deleted',1);
INSERT INTO "attempts" VALUES('own-retry',1);
INSERT INTO "attempts" VALUES('being-filed',1);
INSERT INTO "attempts" VALUES('held-by-outage',1);
INSERT INTO "attempts" VALUES('sending',1);
INSERT INTO "attempts" VALUES('ready',1);
INSERT INTO "attempts" VALUES('being-taken',1);
CREATE TABLE circuits (
	api VARCHAR NOT NULL, 
	open_since DOUBLE, 
	reason TEXT, 
	remedy TEXT, 
	failures INTEGER NOT NULL, 
	probes INTEGER NOT NULL, 
	next_probe_at DOUBLE, 
	successes INTEGER NOT NULL, 
	PRIMARY KEY (api)
);
INSERT INTO "circuits" VALUES('metadata',NULL,NULL,NULL,0,0,NULL,0);
INSERT INTO "circuits" VALUES('upload',NULL,NULL,NULL,0,0,NULL,2);
INSERT INTO "circuits" VALUES('analytics',1700000000.0,'nothing listens there','start the server',1,0,1700000005.0,0);
CREATE TABLE facts (
	name VARCHAR NOT NULL, 
	value JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "facts" VALUES('schema_version',1);
INSERT INTO "facts" VALUES('state_uuid','"68273fef-ae0b-424a-a1ec-3c15a1803bfe"');
INSERT INTO "facts" VALUES('written_by','"0.1.0"');
INSERT INTO "facts" VALUES('paused_at',1700000000);
CREATE TABLE history (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DOUBLE NOT NULL, 
	sample_id VARCHAR NOT NULL, 
	submission VARCHAR, 
	state VARCHAR, 
	step VARCHAR, 
	text TEXT NOT NULL, 
	detail JSON
);
INSERT INTO "history" VALUES(1,1700000000.0,'done','4aa1396a-1803-4639-9770-c28ae11ca79a','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(2,1700000000.0,'done','4aa1396a-1803-4639-9770-c28ae11ca79a','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(3,1700000000.0,'done','4aa1396a-1803-4639-9770-c28ae11ca79a','done',NULL,'done','{"remedy": null}');
INSERT INTO "history" VALUES(4,1700000000.0,'failed','9775aafa-d6b2-4192-894b-888662b81aad','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(5,1700000000.0,'failed','9775aafa-d6b2-4192-894b-888662b81aad','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(6,1700000000.0,'failed','9775aafa-d6b2-4192-894b-888662b81aad','failed',NULL,'it is broken','{"remedy": "mend it"}');
INSERT INTO "history" VALUES(7,1700000000.0,'cancelled','3945cdf0-02c4-46af-aa9f-7b44c5377ea5','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(8,1700000000.0,'cancelled','3945cdf0-02c4-46af-aa9f-7b44c5377ea5','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(9,1700000000.0,'cancelled','3945cdf0-02c4-46af-aa9f-7b44c5377ea5','cancelled',NULL,'it is broken','{"remedy": "mend it"}');
INSERT INTO "history" VALUES(10,1700000000.0,'deleted','47db8194-3585-44f1-813f-32ab9d0b39b8','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(11,1700000000.0,'deleted','47db8194-3585-44f1-813f-32ab9d0b39b8','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(12,1700000000.0,'deleted','47db8194-3585-44f1-813f-32ab9d0b39b8','failed',NULL,'it is broken','{"remedy": "mend it"}');
INSERT INTO "history" VALUES(13,1700000000.0,'deleted','47db8194-3585-44f1-813f-32ab9d0b39b8',NULL,NULL,'its folder was old enough to be deleted','null');
INSERT INTO "history" VALUES(14,1700000000.0,'failed','9775aafa-d6b2-4192-894b-888662b81aad',NULL,NULL,'retry requested','null');
INSERT INTO "history" VALUES(15,1700000000.0,'own-retry','4887e8b1-2125-4c60-b494-484a74f3afb2','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(16,1700000000.0,'own-retry','4887e8b1-2125-4c60-b494-484a74f3afb2','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(17,1700000000.0,'own-retry','4887e8b1-2125-4c60-b494-484a74f3afb2','waiting','metadata','it failed (500)','{"until": 1700000000.6564846}');
INSERT INTO "history" VALUES(18,1700000000.0,'being-filed','7ac5bc1a-7cbc-400b-bf40-914d9bc93ad3','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(19,1700000000.0,'being-filed','7ac5bc1a-7cbc-400b-bf40-914d9bc93ad3','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(20,1700000000.0,'held-by-outage','d58c7250-60dc-4069-bf43-106c05170789','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(21,1700000000.0,'held-by-outage','d58c7250-60dc-4069-bf43-106c05170789','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(22,1700000000.0,'held-by-outage','d58c7250-60dc-4069-bf43-106c05170789','waiting','analytics','nothing listens there','{"until": null}');
INSERT INTO "history" VALUES(23,1700000000.0,'sending','0fc3dd7e-21d5-4dc2-bf66-ab424ee31823','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(24,1700000000.0,'sending','0fc3dd7e-21d5-4dc2-bf66-ab424ee31823','processing','metadata','processing, from metadata','null');
INSERT INTO "history" VALUES(25,1700000000.0,'ready','6a1f1c59-7f67-4512-8e51-09c04b995df6','ready',NULL,'taken from the inbox','{"attempt_number": 1, "images": 1}');
INSERT INTO "history" VALUES(26,1700000000.0,'ready','6a1f1c59-7f67-4512-8e51-09c04b995df6',NULL,NULL,'cancel requested','null');
CREATE TABLE images (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	submission VARCHAR NOT NULL, 
	relative_path BLOB NOT NULL, 
	size INTEGER NOT NULL, 
	mtime_ns VARCHAR NOT NULL, 
	inode VARCHAR NOT NULL, 
	sop_instance_uid VARCHAR NOT NULL, 
	header_length INTEGER NOT NULL, 
	header_digest VARCHAR NOT NULL, 
	tail_offset INTEGER NOT NULL, 
	tail_length INTEGER NOT NULL, 
	changes JSON NOT NULL, 
	warnings JSON NOT NULL, 
	carried BOOLEAN NOT NULL, 
	duplicate_of BLOB, 
	requests INTEGER NOT NULL, 
	acknowledged_at DOUBLE, 
	status INTEGER, 
	reply JSON, 
	already_stored BOOLEAN NOT NULL, 
	refused TEXT, 
	tail_digest VARCHAR, 
	sha256 VARCHAR, 
	FOREIGN KEY(submission) REFERENCES submissions (uuid) ON DELETE CASCADE
);
INSERT INTO "images" VALUES(1,'4aa1396a-1803-4639-9770-c28ae11ca79a',X'696D6167652D302E64636D',1000,'1700000000123456789','42','1.2.3',200,'aa',180,820,'[]','[]',0,NULL,1,1700000000.0,200,'{"Status": "Success"}',0,NULL,'dd',NULL);
INSERT INTO "images" VALUES(2,'d58c7250-60dc-4069-bf43-106c05170789',X'696D6167652D302E64636D',1000,'1700000000123456789','42','1.2.3',200,'aa',180,820,'[]','[]',0,NULL,0,NULL,NULL,'null',0,NULL,NULL,NULL);
INSERT INTO "images" VALUES(3,'0fc3dd7e-21d5-4dc2-bf66-ab424ee31823',X'612E64636D',1000,'1700000000123456789','42','1.2.3',200,'aa',180,820,'[["PatientName", null, "Biscuit"]]','["odd"]',0,NULL,1,1700000000.0,200,'{"Status": "Success"}',0,NULL,'dd',NULL);
INSERT INTO "images" VALUES(4,'0fc3dd7e-21d5-4dc2-bf66-ab424ee31823',X'636166E92E64636D',1000,'1700000000123456789','18446744073709551615','1.2.3',200,'aa',180,820,'[]','[]',0,NULL,1,NULL,NULL,'null',0,NULL,NULL,NULL);
CREATE TABLE requests (
	number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at DOUBLE NOT NULL, 
	kind VARCHAR NOT NULL, 
	submission VARCHAR NOT NULL, 
	from_step VARCHAR, 
	done_at DOUBLE, 
	outcome TEXT
);
INSERT INTO "requests" VALUES(1,1700000000.0,'retry','9775aafa-d6b2-4192-894b-888662b81aad',NULL,1700000000.0,'refused: altered');
INSERT INTO "requests" VALUES(2,1700000000.0,'cancel','6a1f1c59-7f67-4512-8e51-09c04b995df6',NULL,NULL,NULL);
CREATE TABLE steps (
	submission VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	started_at DOUBLE NOT NULL, 
	finished_at DOUBLE, 
	held_before DOUBLE NOT NULL, 
	tries INTEGER NOT NULL, 
	failures INTEGER NOT NULL, 
	successes_seen INTEGER NOT NULL, 
	outage_turns INTEGER NOT NULL, 
	outage_successes INTEGER NOT NULL, 
	requests INTEGER NOT NULL, 
	last_problem TEXT, 
	result JSON, 
	PRIMARY KEY (submission, step), 
	FOREIGN KEY(submission) REFERENCES submissions (uuid) ON DELETE CASCADE
);
INSERT INTO "steps" VALUES('4aa1396a-1803-4639-9770-c28ae11ca79a','metadata',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "metadata"}');
INSERT INTO "steps" VALUES('4aa1396a-1803-4639-9770-c28ae11ca79a','tags',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "tags"}');
INSERT INTO "steps" VALUES('4aa1396a-1803-4639-9770-c28ae11ca79a','upload',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "upload"}');
INSERT INTO "steps" VALUES('4aa1396a-1803-4639-9770-c28ae11ca79a','analytics',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "analytics"}');
INSERT INTO "steps" VALUES('4aa1396a-1803-4639-9770-c28ae11ca79a','archive',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "archive"}');
INSERT INTO "steps" VALUES('4887e8b1-2125-4c60-b494-484a74f3afb2','metadata',1700000000.0,NULL,0.0,1,1,1,0,0,0,'it failed (500)',NULL);
INSERT INTO "steps" VALUES('d58c7250-60dc-4069-bf43-106c05170789','metadata',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "metadata"}');
INSERT INTO "steps" VALUES('d58c7250-60dc-4069-bf43-106c05170789','tags',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"of": "tags"}');
INSERT INTO "steps" VALUES('d58c7250-60dc-4069-bf43-106c05170789','upload',1700000000.0,1700000000.0,0.0,0,0,1,0,0,0,NULL,'{"of": "upload"}');
INSERT INTO "steps" VALUES('d58c7250-60dc-4069-bf43-106c05170789','analytics',1700000000.0,NULL,0.0,0,0,0,1,0,0,'nothing listens there',NULL);
INSERT INTO "steps" VALUES('0fc3dd7e-21d5-4dc2-bf66-ab424ee31823','metadata',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{"patient-name": "Biscuit"}');
INSERT INTO "steps" VALUES('0fc3dd7e-21d5-4dc2-bf66-ab424ee31823','tags',1700000000.0,1700000000.0,0.0,0,0,0,0,0,0,NULL,'{}');
INSERT INTO "steps" VALUES('0fc3dd7e-21d5-4dc2-bf66-ab424ee31823','upload',1700000000.0,NULL,0.0,0,0,1,0,0,0,NULL,NULL);
CREATE TABLE submissions (
	uuid VARCHAR NOT NULL, 
	sample_id VARCHAR NOT NULL, 
	folder_name BLOB NOT NULL, 
	attempt_number INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	step VARCHAR NOT NULL, 
	intent VARCHAR, 
	outcome VARCHAR, 
	place BLOB, 
	reason TEXT, 
	remedy TEXT, 
	doomed TEXT, 
	owner VARCHAR, 
	held_by VARCHAR, 
	held_since DOUBLE, 
	held_seconds DOUBLE NOT NULL, 
	probing VARCHAR, 
	probed_at DOUBLE, 
	next_try_at DOUBLE, 
	taken_at DOUBLE NOT NULL, 
	finished_at DOUBLE, 
	manifest VARCHAR NOT NULL, 
	manifest_at DOUBLE, 
	file_count INTEGER NOT NULL, 
	image_count INTEGER NOT NULL, 
	size INTEGER NOT NULL, 
	smallest_image INTEGER NOT NULL, 
	repetition INTEGER NOT NULL, 
	crashes INTEGER NOT NULL, 
	deleted_at DOUBLE, 
	PRIMARY KEY (uuid)
);
INSERT INTO "submissions" VALUES('4aa1396a-1803-4639-9770-c28ae11ca79a','done',X'646F6E65',1,'done','archive',NULL,'done',X'646F6E65',NULL,NULL,NULL,NULL,NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,1700000000.0,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('9775aafa-d6b2-4192-894b-888662b81aad','failed',X'6661696C6564',1,'failed','metadata',NULL,'failed',X'6661696C6564','it is broken','mend it',NULL,NULL,NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,1700000000.0,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('3945cdf0-02c4-46af-aa9f-7b44c5377ea5','cancelled',X'63616E63656C6C6564',1,'cancelled','metadata',NULL,'cancelled',X'63616E63656C6C6564','it is broken','mend it',NULL,NULL,NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,1700000000.0,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('47db8194-3585-44f1-813f-32ab9d0b39b8','deleted',X'64656C65746564',1,'failed','metadata',NULL,'failed',X'64656C65746564','it is broken','mend it',NULL,NULL,NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,1700000000.0,'m1',NULL,2,1,2000,1000,0,0,1700000000.0);
INSERT INTO "submissions" VALUES('4887e8b1-2125-4c60-b494-484a74f3afb2','own-retry',X'6F776E2D7265747279',1,'waiting','metadata',NULL,NULL,NULL,'it failed (500)',NULL,NULL,NULL,NULL,NULL,0.0,NULL,NULL,1.70000000065648460391e+09,1700000000.0,NULL,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('7ac5bc1a-7cbc-400b-bf40-914d9bc93ad3','being-filed',X'6265696E672D66696C6564',1,'processing','metadata','conclude','failed',X'636166E92E64636D','it is broken','mend it',NULL,'this run',NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,1700000000.0,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('d58c7250-60dc-4069-bf43-106c05170789','held-by-outage',X'68656C642D62792D6F7574616765',1,'waiting','analytics',NULL,NULL,NULL,'nothing listens there','start the server',NULL,NULL,'api:analytics',1700000000.0,0.0,NULL,NULL,NULL,1700000000.0,NULL,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('0fc3dd7e-21d5-4dc2-bf66-ab424ee31823','sending',X'73656E64696E67',1,'processing','upload',NULL,NULL,NULL,NULL,NULL,NULL,'this run',NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,NULL,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('6a1f1c59-7f67-4512-8e51-09c04b995df6','ready',X'7265616479',1,'ready','metadata',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,NULL,NULL,1700000000.0,1700000000.0,NULL,'m1',NULL,2,1,2000,1000,0,0,NULL);
INSERT INTO "submissions" VALUES('40b7717b-f11e-4171-8e69-8cc78ae33c2a','being-taken',X'6265696E672D74616B656E',1,'receiving','metadata','claim',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0.0,NULL,NULL,NULL,1700000000.0,NULL,'m1',NULL,2,1,2000,1000,0,0,NULL);
CREATE INDEX submissions_finished ON submissions (finished_at);
CREATE INDEX submissions_in_state ON submissions (state);
CREATE INDEX submissions_suspect ON submissions (crashes);
CREATE INDEX submissions_moving ON submissions (intent);
CREATE INDEX submissions_of_sample ON submissions (sample_id, attempt_number);
CREATE INDEX submissions_due ON submissions (next_try_at);
CREATE INDEX history_at ON history (at);
CREATE INDEX history_of_sample ON history (sample_id, number);
CREATE INDEX history_of_submission ON history (submission);
CREATE INDEX requests_open ON requests (done_at);
CREATE INDEX images_of_submission ON images (submission);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('history',26);
INSERT INTO "sqlite_sequence" VALUES('images',4);
INSERT INTO "sqlite_sequence" VALUES('requests',2);
COMMIT;
