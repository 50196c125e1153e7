/* Stands in for libnvidia-ml.so.1: answers for the machine that machine.h reads, by the public NVML API reference.
 * Only what gpudoctor asks is here; everything else is, to pynvml, a function that this driver does not have. */
#include "machine.h"

enum {
    SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9, LIBRARY_NOT_FOUND = 12, GPU_IS_LOST = 15, LIB_RM_VERSION_MISMATCH = 18
};

typedef unsigned int uint;
typedef unsigned long long ulonglong;
typedef const struct settings *device;

static int initialized;

/* --- how a question about a GPU is answered --- */

/* The text that a GPU's setting has, or the return code that asking for it gives. */
static int get_text(device gpu, const char *key, const char **text)
{
    if (!initialized)
        return UNINITIALIZED;
    if (!gpu)
        return INVALID_ARGUMENT;
    if (setting(&machine, "live")) /* the same places hold the new values: handles stay what they are */
        read_machine();
    *text = setting(gpu, "every");
    if (!*text)
        *text = setting(gpu, key);
    if (!*text)
        return NOT_SUPPORTED;
    if (!strcmp(*text, "hang"))
        hang();
    if (!strcmp(*text, "segfault"))
        raise(SIGSEGV);
    return **text == '!' ? atoi(*text + 1) : SUCCESS;
}

static int copy(const char *text, char *out, uint size)
{
    if (strlen(text) >= size)
        return INSUFFICIENT_SIZE;
    strcpy(out, text);
    return SUCCESS;
}

static int get_string(device gpu, const char *key, char *out, uint size)
{
    const char *text;
    int code = get_text(gpu, key, &text);
    return code ? code : copy(text, out, size);
}

static int get_number(device gpu, const char *key, ulonglong *out)
{
    const char *text;
    int code = get_text(gpu, key, &text);
    if (!code)
        *out = strtoull(text, NULL, 0);
    return code;
}

static int get_uint(device gpu, const char *key, uint *out)
{
    ulonglong number = 0;
    int code = get_number(gpu, key, &number);
    if (!code)
        *out = (uint)number;
    return code;
}

/* Two numbers in one setting: "1 0". */
static int get_pair(device gpu, const char *key, const char *format, uint *first, uint *second)
{
    const char *text;
    int code = get_text(gpu, key, &text);
    if (!code)
        sscanf(text, format, first, second);
    return code;
}

/* --- the library and the whole machine --- */

API int nvmlInitWithFlags(uint flags)
{
    (void)flags;
    int code = read_machine() ? enter("nvmlInit") : DRIVER_NOT_LOADED;
    initialized = code == SUCCESS;
    return code;
}

API int nvmlShutdown(void)
{
    initialized = 0;
    return SUCCESS;
}

/* Needs no nvmlInit. */
API const char *nvmlErrorString(int code)
{
    switch (code) {
    case SUCCESS: return "Success";
    case NOT_SUPPORTED: return "Not Supported";
    case NO_PERMISSION: return "Insufficient Permissions";
    case DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case LIBRARY_NOT_FOUND: return "NVML Shared Library Not Found";
    case GPU_IS_LOST: return "GPU is lost";
    case LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "Unknown Error";
    }
}

/* Needs no nvmlInit. */
API int nvmlSystemGetNVMLVersion(char *out, uint size)
{
    const char *text = setting(&machine, "nvml_version");
    return text ? copy(text, out, size) : NOT_SUPPORTED;
}

API int nvmlSystemGetDriverVersion(char *out, uint size) { return get_string(&machine, "driver_version", out, size); }

API int nvmlSystemGetCudaDriverVersion(uint *out) { return get_uint(&machine, "cuda_version", out); }

API int nvmlDeviceGetCount_v2(uint *out)
{
    *out = (uint)gpu_count;
    return setting(&machine, "count") ? get_uint(&machine, "count", out) : initialized ? SUCCESS : UNINITIALIZED;
}

API int nvmlDeviceGetHandleByIndex_v2(uint index, device *out)
{
    const char *failure;
    if (!initialized)
        return UNINITIALIZED;
    if (index >= (uint)gpu_count)
        return INVALID_ARGUMENT;
    failure = setting(&gpus[index], "handle");
    if (failure)
        return atoi(failure + 1);
    *out = &gpus[index];
    return SUCCESS;
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, device *out)
{
    if (!initialized)
        return UNINITIALIZED;
    for (uint index = 0; index < (uint)gpu_count; index++) {
        const char *own = setting(&gpus[index], "uuid"), *instance = setting(&gpus[index], "mig_uuid");
        if ((own && !strcmp(own, uuid)) || (instance && !strcmp(instance, uuid)))
            return nvmlDeviceGetHandleByIndex_v2(index, out);
    }
    return NOT_FOUND;
}

/* An instance and its GPU are one here. */
API int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device instance, device *out)
{
    *out = instance;
    return SUCCESS;
}

/* --- one GPU --- */

#define STRING(function, key) \
    API int function(device gpu, char *out, uint size) { return get_string(gpu, key, out, size); }
#define UINT(function, key) \
    API int function(device gpu, uint *out) { return get_uint(gpu, key, out); }
#define NUMBER(function, key) \
    API int function(device gpu, ulonglong *out) { return get_number(gpu, key, out); }
#define PAIR(function, key, format) \
    API int function(device gpu, uint *first, uint *second) { return get_pair(gpu, key, format, first, second); }

STRING(nvmlDeviceGetName, "name")
STRING(nvmlDeviceGetUUID, "uuid")
STRING(nvmlDeviceGetSerial, "serial")
UINT(nvmlDeviceGetMinorNumber, "minor")
UINT(nvmlDeviceGetPersistenceMode, "persistence_mode")
UINT(nvmlDeviceGetComputeMode, "compute_mode")
UINT(nvmlDeviceGetDisplayActive, "display_active")
UINT(nvmlDeviceGetPowerUsage, "power") /* milliwatts */
UINT(nvmlDeviceGetEnforcedPowerLimit, "power_limit")
UINT(nvmlDeviceGetPowerManagementDefaultLimit, "power_limit_default")
UINT(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pages_pending")
UINT(nvmlDeviceGetPcieReplayCounter, "pcie_replays")
UINT(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation")
UINT(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max")
UINT(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width")
UINT(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max")
UINT(nvmlDeviceGetPerformanceState, "performance_state")
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, "clocks_event_reasons")
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, "clocks_throttle_reasons")
PAIR(nvmlDeviceGetCudaComputeCapability, "compute_capability", "%u.%u")
PAIR(nvmlDeviceGetMigMode, "mig_mode", "%u %u") /* current, pending */
PAIR(nvmlDeviceGetEccMode, "ecc_mode", "%u %u")

API int nvmlDeviceGetTemperature(device gpu, int sensor, uint *out)
{
    (void)sensor;
    return get_uint(gpu, "temperature", out);
}

API int nvmlDeviceGetTotalEccErrors(device gpu, int corrected_or_not, int counter, ulonglong *out)
{
    if (corrected_or_not != 1)
        return get_number(gpu, "ecc_corrected_volatile", out);
    return get_number(gpu, counter == 0 ? "ecc_uncorrected_volatile" : "ecc_uncorrected_aggregate", out);
}

API int nvmlDeviceGetRemappedRows(device gpu, uint *correctable, uint *uncorrectable, uint *pending, uint *failed)
{
    const char *text;
    int code = get_text(gpu, "remapped_rows", &text);
    if (!code)
        sscanf(text, "%u %u %u %u", correctable, uncorrectable, pending, failed);
    return code;
}

struct pci_info {
    char bus_id_legacy[16];
    uint domain, bus, device, device_id, subsystem_id;
    char bus_id[32];
};

API int nvmlDeviceGetPciInfo_v3(device gpu, struct pci_info *out)
{
    const char *text;
    int code = get_text(gpu, "pci", &text); /* 0000:07:00 20b2 */
    if (code)
        return code;
    memset(out, 0, sizeof *out);
    sscanf(text, "%x:%x:%x %x", &out->domain, &out->bus, &out->device, &out->device_id);
    out->device_id = out->device_id << 16 | 0x10de;
    snprintf(out->bus_id, sizeof out->bus_id, "%08X:%02X:%02X.0", out->domain, out->bus, out->device);
    return SUCCESS;
}

/* The setting "memory" is in MiB: total, reserved, used. */
static int get_memory(device gpu, const char *key, ulonglong mib[3])
{
    const char *text;
    int code = get_text(gpu, key, &text);
    if (!code)
        sscanf(text, "%llu %llu %llu", &mib[0], &mib[1], &mib[2]);
    return code;
}

API int nvmlDeviceGetMemoryInfo(device gpu, ulonglong total_free_used[3])
{
    ulonglong mib[3] = {0};
    int code = get_memory(gpu, "memory", mib);
    if (!code) { /* this version counts what the driver reserves as used */
        total_free_used[0] = mib[0] << 20;
        total_free_used[1] = (mib[0] - mib[1] - mib[2]) << 20;
        total_free_used[2] = (mib[1] + mib[2]) << 20;
    }
    return code;
}

struct memory_v2 {
    uint version;
    ulonglong total, reserved, free, used;
};

API int nvmlDeviceGetMemoryInfo_v2(device gpu, struct memory_v2 *out)
{
    ulonglong mib[3] = {0};
    const char *own = gpu ? setting(gpu, "memory_v2") : NULL; /* only to make it fail */
    int code = get_memory(gpu, own ? "memory_v2" : "memory", mib);
    if (!code) {
        out->total = mib[0] << 20;
        out->reserved = mib[1] << 20;
        out->used = mib[2] << 20;
        out->free = out->total - out->reserved - out->used;
    }
    return code;
}

/* Kinds of clocks: 1 SM, 2 memory. */
API int nvmlDeviceGetClockInfo(device gpu, int kind, uint *out)
{
    return get_uint(gpu, kind == 1 ? "sm_clock" : "memory_clock", out);
}

API int nvmlDeviceGetMaxClockInfo(device gpu, int kind, uint *out)
{
    return get_uint(gpu, kind == 1 ? "sm_clock_max" : "memory_clock_max", out);
}

API int nvmlDeviceGetUtilizationRates(device gpu, uint gpu_and_memory[2])
{
    gpu_and_memory[1] = 0;
    return get_uint(gpu, "utilisation", &gpu_and_memory[0]);
}

/* The setting "nvlink_errors": one count for each link, and each is what every counter of the link says. */
static int get_link(device gpu, uint link, ulonglong *out)
{
    const char *text;
    int code = get_text(gpu, "nvlink_errors", &text);
    for (char *end; !code; text = end, link--) {
        *out = strtoull(text, &end, 0);
        if (end == text)
            return INVALID_ARGUMENT; /* past the last link */
        if (!link)
            break;
    }
    return code;
}

API int nvmlDeviceGetNvLinkState(device gpu, uint link, uint *active)
{
    ulonglong errors;
    *active = 1;
    return get_link(gpu, link, &errors);
}

API int nvmlDeviceGetNvLinkErrorCounter(device gpu, uint link, int counter, ulonglong *out)
{
    (void)counter;
    return get_link(gpu, link, out);
}

struct process {
    uint pid;
    ulonglong memory;
    uint gpu_instance, compute_instance;
};

/* The setting "processes" says how many there are: 1001, 1002... */
API int nvmlDeviceGetComputeRunningProcesses_v3(device gpu, uint *count, struct process *out)
{
    uint room = *count;
    int code = get_uint(gpu, "processes", count);
    if (code || *count == 0)
        return code;
    if (room < *count)
        return INSUFFICIENT_SIZE;
    for (uint i = 0; i < *count; i++)
        out[i] = (struct process){1001 + i, 1 << 30, 0, 0};
    return SUCCESS;
}

/* The settings "graphics_processes" and "mps_processes" say how many there are: 2001, ... and 3001, ... */
static int get_processes(device gpu, const char *key, uint first, uint *count, struct process *out)
{
    uint room = *count;
    int code = get_uint(gpu, key, count);
    if (code || *count == 0)
        return code;
    if (room < *count)
        return INSUFFICIENT_SIZE;
    for (uint i = 0; i < *count; i++)
        out[i] = (struct process){first + i, 1 << 20, 0, 0};
    return SUCCESS;
}

API int nvmlDeviceGetGraphicsRunningProcesses_v3(device gpu, uint *count, struct process *out)
{
    return get_processes(gpu, "graphics_processes", 2001, count, out);
}

API int nvmlDeviceGetMPSComputeRunningProcesses_v3(device gpu, uint *count, struct process *out)
{
    return get_processes(gpu, "mps_processes", 3001, count, out);
}

/* The setting "mig_devices" says how many instances there are. They sit at every second place of seven. */
API int nvmlDeviceGetMaxMigDeviceCount(device gpu, uint *count)
{
    int code = get_uint(gpu, "mig_devices", count);
    *count = 7;
    return code;
}

API int nvmlDeviceGetMigDeviceHandleByIndex(device gpu, uint index, device *out)
{
    static struct settings instances[7];
    uint count = 0;
    int code = get_uint(gpu, "mig_devices", &count);
    if (code)
        return code;
    if (index >= 7 || index % 2 || index / 2 >= count)
        return NOT_FOUND;
    instances[index].count = 1;
    strcpy(instances[index].list[0].key, "uuid");
    snprintf(instances[index].list[0].value, 128, "MIG-00000000-0000-0000-0000-00000000000%u", index);
    *out = &instances[index];
    return SUCCESS;
}

struct field_value {
    uint id, scope;
    long long timestamp, latency;
    int type, code;
    ulonglong value;
};

/* Of the many fields only the recovery action, 230. */
API int nvmlDeviceGetFieldValues(device gpu, int count, struct field_value *values)
{
    if (!initialized)
        return UNINITIALIZED;
    for (int i = 0; i < count; i++)
        values[i].code = values[i].id == 230 ? get_number(gpu, "recovery_action", &values[i].value) : INVALID_ARGUMENT;
    return SUCCESS;
}

API int nvmlDeviceGetVirtualizationMode(device gpu, uint *out) { return get_uint(gpu, "virtualization_mode", out); }

struct license_feature {
    int code;
    uint state;
    char info[128], product[128];
    uint enabled, year;
    unsigned short month, day, hour, minute, second;
    unsigned char status;
};

struct license_features {
    int supported;
    uint count;
    struct license_feature features[3];
};

/* The setting "licensed" is 1 or 0 for the one feature of a vGPU. */
API int nvmlDeviceGetGridLicensableFeatures_v4(device gpu, struct license_features *out)
{
    int code = get_uint(gpu, "licensed", &out->features[0].state);
    out->supported = out->count = 1;
    strcpy(out->features[0].product, "NVIDIA Virtual Compute Server");
    return code;
}

struct fabric_info {
    unsigned char cluster[16];
    int status;
    uint clique, state;
};

/* The setting "fabric_state": 0 not supported, 1 not started, 2 in progress, 3 completed. */
API int nvmlDeviceGetGpuFabricInfo(device gpu, struct fabric_info *out)
{
    memset(out, 0, sizeof *out);
    return get_uint(gpu, "fabric_state", &out->state);
}

/* The settings "p2p_read" and "p2p_nvlink" are NVML's status for every pair, as the first of both has it: 0 is fine. */
API int nvmlDeviceGetP2PStatus(device gpu, device other, int capability, uint *out)
{
    (void)other;
    return get_uint(gpu, capability == 2 ? "p2p_nvlink" : "p2p_read", out);
}
