/* Makes every fsync, fdatasync and syncfs of a process 2 ms slower, as on an ordinary disk (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static int slowed(const char *name, int descriptor)
{
    struct timespec delay = {0, 2000000};
    nanosleep(&delay, 0);
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(descriptor);
}

int fsync(int descriptor) { return slowed("fsync", descriptor); }
int fdatasync(int descriptor) { return slowed("fdatasync", descriptor); }
int syncfs(int descriptor) { return slowed("syncfs", descriptor); }
