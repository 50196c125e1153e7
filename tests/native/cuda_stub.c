/* Stands in for libcuda.so.1: answers for the machine that machine.h reads, by the public CUDA driver API reference. */
#include "machine.h"

enum { SUCCESS = 0, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101 };
enum { COMPUTE_CAPABILITY_MAJOR = 75, COMPUTE_CAPABILITY_MINOR = 76 };

static int initialized;

/* The text of a device's setting, or the return code that asking for it gives. */
static int get_text(int ordinal, const char *key, const char **text)
{
    if (!initialized)
        return NOT_INITIALIZED;
    if (ordinal < 0 || ordinal >= gpu_count)
        return INVALID_DEVICE;
    *text = setting(&gpus[ordinal], key);
    if (!*text)
        *text = "";
    return **text == '!' ? atoi(*text + 1) : SUCCESS;
}

API int cuInit(unsigned int flags)
{
    (void)flags;
    int code = read_machine() ? enter("cuInit") : NO_DEVICE;
    if (code == SUCCESS && gpu_count == 0)
        code = NO_DEVICE;
    initialized = code == SUCCESS;
    return code;
}

/* Needs no cuInit, and no driver. */
API int cuDriverGetVersion(int *out)
{
    const char *text = read_machine() ? setting(&machine, "cuda_version") : NULL;
    *out = text ? atoi(text) : 0;
    return SUCCESS;
}

API int cuDeviceGetCount(int *out)
{
    *out = gpu_count;
    return initialized ? SUCCESS : NOT_INITIALIZED;
}

API int cuDeviceGet(int *out, int ordinal)
{
    const char *failure;
    *out = ordinal;
    return get_text(ordinal, "cuDeviceGet", &failure);
}

API int cuDeviceGetName(char *out, int size, int ordinal)
{
    const char *text;
    int code = get_text(ordinal, "name", &text);
    if (code == SUCCESS)
        snprintf(out, (size_t)size, "%s", text);
    return code;
}

API int cuDeviceTotalMem_v2(size_t *out, int ordinal)
{
    const char *text;
    int code = get_text(ordinal, "memory", &text); /* MiB: total, and more */
    if (code == SUCCESS)
        *out = (size_t)atoll(text) << 20;
    return code;
}

API int cuDeviceGetAttribute(int *out, int attribute, int ordinal)
{
    const char *text;
    int major = 0, minor = 0;
    int code = get_text(ordinal, "compute_capability", &text);
    if (code == SUCCESS) {
        sscanf(text, "%d.%d", &major, &minor);
        *out = attribute == COMPUTE_CAPABILITY_MAJOR ? major : attribute == COMPUTE_CAPABILITY_MINOR ? minor : 0;
    }
    return code;
}

/* 16 octets, from GPU-01234567-89ab-... */
API int cuDeviceGetUuid(unsigned char *out, int ordinal)
{
    const char *text;
    int code = get_text(ordinal, "uuid", &text);
    if (code != SUCCESS)
        return code;
    text += strspn(text, "GPU-");
    for (int i = 0; i < 16 && *text; i++, text += 2) {
        text += strspn(text, "-");
        sscanf(text, "%2hhx", &out[i]);
    }
    return SUCCESS;
}

static const struct { int code; const char *name, *text; } errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {802, "CUDA_ERROR_SYSTEM_NOT_READY", "system not yet initialized"},
    {803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "system has unsupported display driver / cuda driver combination"},
    {804, "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE", "forward compatibility was attempted on non supported HW"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

static int describe(int code, const char **name, const char **text)
{
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        if (errors[i].code == code) {
            *name = errors[i].name;
            *text = errors[i].text;
            return SUCCESS;
        }
    *name = *text = NULL;
    return 1; /* CUDA_ERROR_INVALID_VALUE */
}

API int cuGetErrorName(int code, const char **out)
{
    const char *text;
    return describe(code, out, &text);
}

API int cuGetErrorString(int code, const char **out)
{
    const char *name;
    return describe(code, &name, out);
}
