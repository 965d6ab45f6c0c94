/* measure REPORT COMMAND...: runs it, writes "SECONDS MIB" into REPORT, the processor time and the largest memory that it or a
 * process of its own took, and ends with its status (128 and the signal, if it died of one). */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static double seconds(struct timeval t) {
    return (double)t.tv_sec + 1e-6 * (double)t.tv_usec;
}

int main(int argc, char **argv) {
    if (argc < 3) return 64;
    int           status;
    struct rusage use;
    pid_t         child = fork();
    if (child == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (child < 0 || wait4(child, &status, 0, &use) != child) return 71;
    FILE *f = fopen(argv[1], "w");
    if (!f) return 74;
    fprintf(f, "%.2f %ld\n", seconds(use.ru_utime) + seconds(use.ru_stime), use.ru_maxrss >> 10);
    fclose(f);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
