/* For LD_PRELOAD: asks a worker to stop after it has started itself once more and before its main() runs. */
#include <signal.h>
#include <stdlib.h>

__attribute__((constructor)) static void ask(void) {
    if (getenv("OMP_WAIT_POLICY")) raise(SIGTERM);
}
