/* What runs compute on: the worker, the NVIDIA driver, GPUs. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "launcher/child.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/text.h"

static const char BUILD_CURE[] = "build both with scripts/build.sh, and start the qlora that lies beside its qlora-worker";

static const ql_json *device(const ql_patient *p, size_t i) {
    return ql_json_at(ql_json_get(p->probe, "devices"), i);
}

static const char *text_of(const ql_json *object, const char *key) {
    const char *text = ql_json_text(ql_json_get(object, key), NULL);
    return text ? text : "";
}

static size_t devices(const ql_patient *p) {
    return ql_json_size(ql_json_get(p->probe, "devices"));
}

static bool is_gpu(const ql_json *d) {
    return ql_json_get(d, "capability") != NULL;
}

int ql_gpus(const ql_patient *p) {
    int n = 0;
    for (size_t i = 0; i < devices(p); i++) n += is_gpu(device(p, i)) && !ql_json_get(device(p, i), "problem");
    return n;
}

bool ql_wants_gpu(const ql_patient *p) {
    return p->has_config && !strcmp(p->config.device, "cuda");
}

/* ---- the worker ---- */

/* "error while loading shared libraries: libhdf5_serial.so.103: ..." is one line; Open MPI and others may say more. */
static void tell_failure(const ql_patient *p, const ql_answer *a) {
    char *said = ql_answer_first_line(&a->errors);
    if (a->is_late) ql_mistake(QL_TEMP, "see what it waits for: a file system, or a driver that hangs (dmesg)", "%s --probe: no answer within 60 s", p->worker);
    else if (a->status == 127) ql_mistake(QL_TEMP, "install what is missing (scripts/packages.sh names the packages), or build again here", "%s cannot start: %s", p->worker, said);
    else if (a->status == 132) ql_mistake(QL_TEMP, "build it again on this machine", "%s: this processor lacks instructions that it was built for", p->worker);
    else if (a->status != 0) ql_mistake(QL_TEMP, BUILD_CURE, "%s --probe ends with status %d: %s", p->worker, a->status, said);
    else ql_mistake(QL_TEMP, BUILD_CURE, "%s --probe says nothing that can be read: %.80s", p->worker, a->text.data);
    free(said);
}

static void tell_build(const ql_patient *p) {
    const char *version = text_of(p->probe, "version"), *mpi = text_of(p->probe, "mpi"), *cuda = text_of(p->probe, "driven_by");
    if (strcmp(version, QL_VERSION) != 0)
        ql_mistake(QL_TEMP, BUILD_CURE, "%s is version %s, and this is qlora %s", p->worker, *version ? version : "(unknown)", QL_VERSION);
    ql_fine("%s %s: %s, %s", p->worker, version, *mpi ? mpi : "without MPI", *cuda ? cuda : "without CUDA");
}

void ql_check_worker(const ql_patient *p) {
    if (!p->worker) {
        ql_mistake(QL_TEMP, "build it with scripts/build.sh", "qlora-worker lies neither beside qlora nor in PATH");
        return;
    }
    if (p->probe) {
        tell_build(p);
        return;
    }
    const char *argv[] = {p->worker, "--probe", "--json", NULL};
    ql_answer   a;
    ql_asking("%s --probe", p->worker);
    if (ql_bad(ql_child_ask(argv, 60, &a))) ql_mistake(QL_TEMP, NULL, "%s", ql_err_text());
    else tell_failure(p, &a);
    ql_answer_free(&a);
}

/* ---- the driver ---- */

static char *small_file(const char *path) {
    ql_str text = {0};
    if (ql_bad(ql_file_read(path, 1 << 20, &text))) ql_str_free(&text);
    return text.data ? text.data : ql_strdup("");
}

/* Display and compute controllers of NVIDIA's on the bus, whoever drives them. */
static int cards_on_the_bus(void) {
    static const char folder[] = "/sys/bus/pci/devices";
    DIR *bus = opendir(folder);
    int  n = 0;
    for (struct dirent *entry; bus && (entry = readdir(bus));) {
        if (entry->d_name[0] == '.') continue;
        char *vendor_path = ql_format("%s/%s/vendor", folder, entry->d_name), *class_path = ql_format("%s/%s/class", folder, entry->d_name);
        char *vendor = small_file(vendor_path), *class = small_file(class_path);
        n += !strncmp(vendor, "0x10de", 6) && !strncmp(class, "0x03", 4);
        free(vendor_path), free(class_path), free(vendor), free(class);
    }
    if (bus) closedir(bus);
    return n;
}

static void tell_no_gpu(const ql_patient *p, const char *why) {
    static const char cure[] = "install NVIDIA's driver, and start a container with --gpus all (Docker) or --nv (Apptainer); or set device: cpu";
    int               cards = cards_on_the_bus();
    char             *text = small_file("/proc/driver/nvidia/version"), *driver = ql_driver_version(text);
    bool              no_nodes = driver && !ql_file_exists("/dev/nvidiactl");
    if (ql_wants_gpu(p)) ql_mistake(QL_USAGE, cure, "device is cuda, but %s", why);
    else if (no_nodes) ql_warning(cure, "the NVIDIA driver %s runs, but /dev/nvidiactl is not here: this container was started without GPUs", driver);
    else if (driver) ql_warning("install a newer driver, or build with an older CUDA", "NVIDIA driver %s: %s", driver, why);
    else if (cards > 0) ql_warning(cure, "%d NVIDIA GPU%s in this machine, but %s", cards, cards == 1 ? "" : "s", why);
    else ql_remark(NULL, "no NVIDIA GPU: runs compute on the CPU");
    free(driver);
    free(text);
}

/* What nvidia-smi complains about is worth repeating: a driver that was updated under running modules, a GPU that fell off the bus. */
static void ask_nvidia_smi(void) {
    const char *argv[] = {"nvidia-smi", "--query-gpu=index,driver_version,compute_mode,ecc.errors.uncorrected.volatile.total", "--format=csv,noheader", NULL};
    ql_answer   a;
    ql_asking("nvidia-smi");
    bool asked = !ql_bad(ql_child_ask(argv, 30, &a)) && a.status != QL_CHILD_ABSENT;
    if (asked && a.is_late) ql_mistake(QL_TEMP, "look at dmesg for Xid lines; reset the GPU or restart the machine", "nvidia-smi: no answer within 30 s: the driver hangs");
    else if (asked && a.status != 0) {
        char *out = ql_answer_first_line(&a.text), *err = ql_answer_first_line(&a.errors);
        ql_mistake(QL_TEMP, "restart the machine (after an update of the driver its modules have to be loaded again), or install the driver again", "nvidia-smi: %s", *out ? out : err);
        free(out), free(err);
    }
    for (const char *line = asked && a.status == 0 ? a.text.data : ""; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *index = ql_comma_field(line, 0), *mode = ql_comma_field(line, 2), *ecc = ql_comma_field(line, 3);
        if (!strcmp(mode, "Prohibited")) ql_mistake(QL_TEMP, "nvidia-smi -c 0 as root", "GPU %s is in compute mode Prohibited: no program may use it", index);
        if (atoi(ecc) > 0) ql_warning("drain and test this GPU; nvidia-smi -q -d ECC tells more", "GPU %s had %s memory errors that could not be corrected", index, ecc);
        free(index), free(mode), free(ecc);
    }
    ql_answer_free(&a);
}

void ql_check_driver(const ql_patient *p) {
    const char *why = ql_json_text(ql_json_get(ql_json_get(p->probe, "absent"), "cuda"), NULL);
    ask_nvidia_smi();
    if (!p->probe) return;
    for (size_t i = 0; i < devices(p); i++)
        if (is_gpu(device(p, i))) {
            ql_fine("%s", text_of(device(p, i), "driver"));
            return;
        }
    if (why) tell_no_gpu(p, why);
}

/* ---- GPUs ---- */

static void check_visible(void) {
    static const char *const names[] = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"};
    const char              *value = getenv(names[0]), *of_container = getenv(names[1]);
    const char              *fault = value ? ql_visible_devices_fault(value) : NULL;
    if (fault) ql_warning("unset it, or list numbers of GPUs with commas: 0,1", "%s=\"%s\" %s", names[0], value, fault);
    if (of_container && (!strcmp(of_container, "void") || !strcmp(of_container, "none")))
        ql_warning("start the container with --gpus all", "%s=%s: this container has no GPUs", names[1], of_container);
}

/* "process 1234 (python) 20000 MiB", one after the other, as nvidia-smi tells of the GPU with this id; "": it tells nothing. Caller frees. */
static char *users_of(const char *id) {
    const char *argv[] = {"nvidia-smi", "--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv,noheader", NULL};
    ql_answer   a;
    ql_str      users = {0};
    bool        asked = !ql_bad(ql_child_ask(argv, 10, &a)) && a.status == 0 && !a.is_late;
    for (const char *line = asked ? a.text.data : ""; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        char *gpu = ql_comma_field(line, 0), *pid = ql_comma_field(line, 1), *name = ql_comma_field(line, 2), *used = ql_comma_field(line, 3);
        if (*id && !strcmp(gpu, id)) ql_str_printf(&users, "%sprocess %s (%s) %s", users.size ? ", " : ": ", pid, name, used);
        free(gpu), free(pid), free(name), free(used);
    }
    ql_answer_free(&a);
    return users.data ? users.data : ql_strdup("");
}

static void check_memory_of(const ql_json *d) {
    double  total = ql_json_number(ql_json_get(d, "bytes_total"), 0), available = ql_json_number(ql_json_get(d, "bytes_free"), 0);
    int64_t index = ql_json_int(ql_json_get(d, "index"), 0);
    char    a[32], b[32];
    ql_text_bytes(a, (uint64_t)available);
    ql_text_bytes(b, (uint64_t)total);
    if (available < 0.9 * total) {
        char *users = users_of(text_of(d, "id"));
        ql_warning("end what uses it (nvidia-smi), or use another GPU (CUDA_VISIBLE_DEVICES)", "GPU %lld: only %s of its %s are free, other programs use it%s", (long long)index, a, b, users);
        free(users);
    } else {
        ql_fine("GPU %lld: %s, compute capability %s, %s of %s free", (long long)index, text_of(d, "name"), text_of(d, "capability"), a, b);
    }
}

static bool reaches(const ql_json *d, int64_t other) {
    const ql_json *peers = ql_json_get(d, "peers");
    for (size_t i = 0; i < ql_json_size(peers); i++)
        if (ql_json_int(ql_json_at(peers, i), -1) == other) return true;
    return false;
}

static void check_peers(const ql_patient *p) {
    int     pairs = 0;
    int64_t from = 0, to = 0;
    for (size_t i = 0; i < devices(p); i++)
        for (size_t k = 0; k < devices(p); k++) {
            const ql_json *a = device(p, i), *b = device(p, k);
            int64_t        other = ql_json_int(ql_json_get(b, "index"), -1);
            if (i == k || !is_gpu(a) || !is_gpu(b) || reaches(a, other)) continue;
            if (pairs++ == 0) from = ql_json_int(ql_json_get(a, "index"), 0), to = other;
        }
    if (pairs > 0)
        ql_remark("cards without NVLink and most cards for games do so; on a server look at IOMMU and ACS in its BIOS",
                  "GPU %lld does not reach the memory of GPU %lld: what they exchange goes through the host", (long long)from, (long long)to);
}

static void check_nccl(const ql_patient *p) {
    const char *name = ql_json_text(ql_json_at(ql_json_get(p->probe, "libraries"), 0), NULL);
    bool        found = name && strcmp(name, "NCCL 0.0.0") != 0;
    if (found) ql_fine("%s", name);
    else if (name) ql_trouble(ql_gpus(p) > 1, "install libnccl2, or put its folder into LD_LIBRARY_PATH", "NCCL was there when qlora-worker was built and is not found now");
    else if (ql_gpus(p) > 1) ql_warning("install libnccl-dev and build again", "this build has no NCCL: GPUs exchange gradients through the host, which is slower");
}

void ql_check_gpus(const ql_patient *p) {
    check_visible();
    for (size_t i = 0; i < devices(p); i++) {
        const ql_json *d = device(p, i);
        if (!is_gpu(d)) continue;
        const char *problem = text_of(d, "problem");
        if (*problem) ql_trouble(ql_wants_gpu(p) && ql_gpus(p) == 0, "leave it out (CUDA_VISIBLE_DEVICES), or set device: cpu", "GPU %lld cannot be used: %s", (long long)ql_json_int(ql_json_get(d, "index"), 0), problem);
        else check_memory_of(d);
    }
    if (ql_gpus(p) > 1) check_peers(p);
    if (ql_gpus(p) > 0) check_nccl(p);
}
