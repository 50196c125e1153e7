/* The imaginary machine that both stub libraries speak for, read from the text file that FAKE_GPU_FILE names.
 *
 *     driver_version=535.261.03       settings of the whole machine: KEY=VALUE, one a line
 *     nvmlInit=18                     what an entry function returns, or how it misbehaves (see enter)
 *     gpu                             starts one more GPU; the settings after it are that GPU's
 *     name=NVIDIA A100-SXM4-80GB
 *     power=!999                      "!" and a return code: asking for this fails
 *     every=!15                       as "!" for all that can be asked of this GPU; handle=!15: already its handle
 *     power=hang                      asking for this hangs; "segfault": crashes
 *     live=1                          the file is read anew at each question about a GPU
 *
 * What is not set is not supported. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define MAX_GPUS 64

struct settings {
    int count;
    struct { char key[64], value[128]; } list[64];
};

static struct settings machine, gpus[MAX_GPUS];
static int gpu_count;

/* The value of a setting, or NULL. */
static const char *setting(const struct settings *of, const char *key)
{
    for (int i = 0; i < of->count; i++)
        if (!strcmp(of->list[i].key, key))
            return of->list[i].value;
    return NULL;
}

/* Reads the file anew; 0 if there is none. */
static int read_machine(void)
{
    const char *path = getenv("FAKE_GPU_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    struct settings *current = &machine;
    char line[256];

    machine.count = gpu_count = 0;
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *equals = strchr(line, '=');
        if (!strcmp(line, "gpu") && gpu_count < MAX_GPUS) {
            current = &gpus[gpu_count++];
            current->count = 0;
        } else if (equals && current->count < 64) {
            *equals = 0;
            snprintf(current->list[current->count].key, 64, "%.63s", line);
            snprintf(current->list[current->count].value, 128, "%.127s", equals + 1);
            current->count++;
        }
    }
    fclose(file);
    return 1;
}

/* "For ever" for any test, yet nothing is left behind on the machine that runs the tests. */
static void hang(void)
{
    for (int second = 0; second < 120; second++)
        sleep(1);
    _exit(1);
}

/* In a process group of its own, and with this process's standard output and error open. */
static void start_grandchild(void)
{
    if (fork() == 0) {
        setsid();
        hang();
    }
}

static void print_junk(void)
{
    char block[10 * 1024];
    memset(block, '?', sizeof block);
    for (int i = 0; i < 1024; i++) /* 10 MiB */
        if (write(1, block, sizeof block) < 0)
            return;
}

/* What an entry function (nvmlInit, cuInit) does: gives the return code it is set to, 0 unless set, or misbehaves. */
static int enter(const char *function)
{
    const char *value = setting(&machine, function);
    if (!value)
        return 0;
    if (!strcmp(value, "hang-ignoring-sigterm"))
        signal(SIGTERM, SIG_IGN);
    if (!strcmp(value, "hang-with-grandchild") || !strcmp(value, "leave-grandchild"))
        start_grandchild();
    if (!strncmp(value, "hang", 4))
        hang();
    if (!strcmp(value, "abort"))
        abort();
    if (!strcmp(value, "segfault"))
        raise(SIGSEGV);
    if (!strcmp(value, "exit"))
        exit(0);
    if (!strcmp(value, "junk"))
        print_junk();
    return atoi(value);
}
