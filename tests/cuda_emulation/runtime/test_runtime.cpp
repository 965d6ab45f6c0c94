/* The emulated CUDA runtime: devices, memory, streams, launches, and what it does when told to fail. */
#include "test_child.h"
#include "tests/cuda_emulation/emulation.h"
#include "tests/cuda_emulation/sanitizer.h"
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_emulation.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
extern "C" {
#include <cmocka.h>
}

static void in_good_child(const variables &set, const std::function<void()> &body) {
    outcome o = in_child(set, body);
    assert_outcome(o, 0, "");
}

#define ok(CALL) require((CALL) == cudaSuccess)

/* ---- devices ---- */

static int count_devices() {
    int n = -1;
    cudaError_t e = cudaGetDeviceCount(&n);
    require(e == cudaSuccess || e == cudaErrorNoDevice);
    require((e == cudaErrorNoDevice) == (n == 0));
    return n;
}

static void a_device_is_there(void **) {
    in_good_child({}, [] {
        require(count_devices() == 1);
        cudaDeviceProp p;
        ok(cudaGetDeviceProperties(&p, 0));
        require(!strcmp(p.name, "Emulated sm_90") && p.major == 9 && p.minor == 0);
        require(cudaGetDeviceProperties(&p, 1) == cudaErrorInvalidDevice);
        require(cudaSetDevice(1) == cudaErrorInvalidDevice);
    });
}

static void no_device_and_no_driver(void **) {
    in_good_child({{"QL_EMU_DEVICES", "0"}}, [] {
        require(count_devices() == 0);
        void *p;
        require(cudaMalloc(&p, 8) == cudaErrorNoDevice);
    });
    in_good_child({{"QL_EMU_DRIVER", "none"}}, [] {
        int n, version = -1;
        require(cudaGetDeviceCount(&n) == cudaErrorInsufficientDriver);
        ok(cudaDriverGetVersion(&version));
        require(version == 0);
    });
    in_good_child({{"QL_EMU_DRIVER", "old"}}, [] {
        int n, version = -1;
        require(cudaGetDeviceCount(&n) == cudaErrorInsufficientDriver);
        ok(cudaDriverGetVersion(&version));
        require(version > 0 && version < CUDART_VERSION);
        require(cudaSetDevice(0) == cudaErrorInsufficientDriver);
    });
}

static void unequal_devices(void **) {
    in_good_child({{"QL_EMU_DEVICES", "3"}, {"QL_EMU_CAPABILITY", "75,86"}, {"QL_EMU_MEMORY", "16GiB,24GiB"}}, [] {
        const int capability[] = {75, 86, 86};
        const size_t gib[] = {16, 24, 24};
        for (int i = 0; i < 3; i++) {
            cudaDeviceProp p;
            ok(cudaGetDeviceProperties(&p, i));
            require(p.major * 10 + p.minor == capability[i] && p.totalGlobalMem == gib[i] << 30);
            size_t available, total;
            ok(cudaSetDevice(i));
            ok(cudaMemGetInfo(&available, &total));
            require(available == total && total == gib[i] << 30);
        }
    });
}

static char first_byte_of(int device) {
    cudaDeviceProp p;
    ok(cudaGetDeviceProperties(&p, device));
    return p.uuid.bytes[0];
}

static void visible_devices(void **) {
    const struct {
        const char *list;
        int count, first; /* count, and what the first one really is */
    } cases[] = {{"0,1,2", 3, 0},
                 {"2,0", 2, 2},
                 {"", 0, 0},
                 {"-1", 0, 0},
                 {"1,7,0", 1, 1},
                 {"1,-1,0", 1, 1},
                 {"1,1", 0, 0},
                 {"gpu", 0, 0},
                 {"2gpu,1", 2, 2},
                 {"GPU-02", 1, 2},
                 {"GPU-", 0, 0},
                 {"MIG-1", 0, 0},
                 {"GPU-01000000-0000-0000-0000-000000000000,GPU-00", 2, 1}};
    for (const auto &c : cases)
        in_good_child({{"QL_EMU_DEVICES", "3"},
                       {"QL_EMU_UUIDS", "GPU-00000000-0000-0000-0000-000000000000,01000000000000000000000000000000,"
                                        "02000000000000000000000000000000"},
                       {"CUDA_VISIBLE_DEVICES", c.list}},
                      [&] {
                          require(count_devices() == c.count);
                          require(c.count == 0 || first_byte_of(0) == c.first);
                      });
}

static void made_up_uuids_differ(void **) {
    in_good_child({{"QL_EMU_DEVICES", "2"}}, [] {
        cudaDeviceProp a, b;
        ok(cudaGetDeviceProperties(&a, 0));
        ok(cudaGetDeviceProperties(&b, 1));
        require(memcmp(&a.uuid, &b.uuid, sizeof a.uuid) != 0 && a.pciBusID != b.pciBusID);
    });
}

static void nonsense_in_the_settings(void **) {
    const variables::value_type cases[] = {{"QL_EMU_DEVICES", "two"},   {"QL_EMU_MEMORY", "8 GB"},
                                           {"QL_EMU_DRIVER", "new"},    {"QL_EMU_STREAMS", "lazy"},
                                           {"QL_EMU_FAIL", "malloc:1"}, {"QL_EMU_UUIDS", "GPU-1"},
                                           {"QL_EMU_CAPABILITY", ""},   {"QL_EMU_OTHER_STREAMS", "often"}};
    for (const auto &c : cases) {
        outcome o = in_child({c}, [] { count_devices(); });
        assert_outcome(o, emulation::failed_status, c.first);
    }
    outcome o = in_child({{"QL_EMU_FAIL", "cudaGetDevice:1:cudaErrorTypo"}}, [] {
        int d;
        (void)cudaGetDevice(&d);
    });
    assert_outcome(o, emulation::failed_status, "cudaErrorTypo");
}

/* ---- memory ---- */

static void memory_is_limited(void **) {
    in_good_child({{"QL_EMU_MEMORY", "64MiB"}, {"QL_EMU_MEMORY_TAKEN", "16MiB"}}, [] {
        void *p, *q;
        size_t available, total;
        ok(cudaMemGetInfo(&available, &total));
        require(available == 48 << 20 && total == 64 << 20);
        require(cudaMalloc(&p, 49 << 20) == cudaErrorMemoryAllocation && !p);
        ok(cudaMalloc(&p, 40 << 20));
        require(cudaMalloc(&q, 9 << 20) == cudaErrorMemoryAllocation);
        ok(cudaFree(p));
        ok(cudaMalloc(&q, 48 << 20));
        ok(cudaMemGetInfo(&available, &total));
        require(available == 0);
        ok(cudaMalloc(&p, 0));
        require(!p);
        ok(cudaFree(nullptr));
    });
}

static void fresh_memory_is_not_a_number(void **) {
    in_good_child({}, [] {
        for (size_t bytes : {size_t(4000), size_t(100) << 20}) {
            float *p, x[2];
            ok(cudaMalloc(&p, bytes));
            ok(cudaMemcpy(x, p, 4, cudaMemcpyDeviceToHost));
            ok(cudaMemcpy(x + 1, p + bytes / 4 - 1, 4, cudaMemcpyDeviceToHost));
            require(isnan(x[0]) && isnan(x[1]));
        }
        float *pinned;
        ok(cudaMallocHost(&pinned, 8));
        require(isnan(pinned[0]) && isnan(pinned[1]));
    });
}

__global__ static void write_one(unsigned char *p, ptrdiff_t at, unsigned char value) {
    p[at] = value;
}

static cudaError_t launch_write(unsigned char *p, ptrdiff_t at, unsigned char value, cudaStream_t stream) {
    return QL_LAUNCH((write_one), 1, 1, 0, stream, p, at, value);
}

/* The address sanitizer sees it first. */
static void assert_caught_beside_memory(const outcome &o, const char *text) {
    if (__asan_poison_memory_region) assert_outcome(o, 1, "use-after-poison");
    else assert_outcome(o, emulation::failed_status, text);
}

static void writing_beside_memory(void **) {
    for (ptrdiff_t at : {-1, 100, 101, 4000, -4000}) {
        outcome o = in_child({}, [=] {
            unsigned char *p;
            ok(cudaMalloc(&p, 100));
            (void)launch_write(p, at, 1, nullptr);
        });
        assert_caught_beside_memory(o, "write_one) wrote beside memory");
    }
    outcome o = in_child({}, [] {
        char *p;
        ok(cudaMallocHost(&p, 100));
        p[100] = 0;
    });
    assert_caught_beside_memory(o, "wrote beside memory");
}

static void using_freed_memory(void **) {
    outcome o = in_child({}, [] {
        unsigned char *p;
        ok(cudaMalloc(&p, 100));
        ok(cudaFree(p));
        (void)launch_write(p, 0, 1, nullptr);
    });
    assert_outcome(o, emulation::failed_status, "write_one) uses memory that was freed");
    o = in_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        unsigned char *p;
        ok(cudaMalloc(&p, 100));
        ok(launch_write(p, 0, 1, nullptr));
        (void)cudaFree(p);
    });
    assert_outcome(o, emulation::failed_status, "write_one) uses memory that was freed");
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        unsigned char *p;
        ok(cudaMalloc(&p, 100));
        ok(launch_write(p, 0, 1, nullptr));
        ok(cudaDeviceSynchronize());
        ok(cudaFree(p));
        require(cudaFree(p) == cudaErrorInvalidValue);
    });
}

static void the_host_is_kept_out(void **) {
    auto body = [](bool peeps) {
        unsigned char *p, *q, found = 0;
        ok(cudaMalloc(&p, 100));
        ok(cudaMalloc(&q, 40 << 20));
        ok(launch_write(p, 0, 1, nullptr));
        ok(cudaMemcpy(q + (40 << 20) - 1, p, 1, cudaMemcpyDeviceToDevice));
        ok(cudaMemcpy(&found, q + (40 << 20) - 1, 1, cudaMemcpyDeviceToHost));
        require(found == 1);
        if (peeps) require(*p == 1);
        ok(cudaFree(p));
    };
    in_good_child({}, [&] { body(true); });
    in_good_child({{"QL_EMU_HOST_ACCESS", "forbidden"}}, [&] { body(false); });
    outcome o = in_child({{"QL_EMU_HOST_ACCESS", "forbidden"}}, [&] { body(true); });
    assert_outcome(o, emulation::failed_status, "the host uses the memory of a device");
}

static void copies_are_checked(void **) {
    in_good_child({}, [] {
        char *p, host[200];
        ok(cudaMalloc(&p, 100));
        require(cudaMemcpy(p, host, 101, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
        require(cudaMemcpy(p + 1, host, 100, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);
        require(cudaMemcpy(p, host, 100, cudaMemcpyDeviceToHost) == cudaErrorInvalidValue);
        require(cudaMemcpy(host, p, 100, cudaMemcpyDeviceToDevice) == cudaErrorInvalidValue);
        require(cudaMemset(p, 0, 101) == cudaErrorInvalidValue);
        require(cudaMemset(host, 0, 1) == cudaErrorInvalidValue);
        ok(cudaMemset(p, 7, 100));
        ok(cudaMemcpy(host, p, 100, cudaMemcpyDefault));
        require(host[0] == 7 && host[99] == 7);
    });
}

/* ---- launches ---- */

__global__ static void nothing() {}

static cudaError_t launch_nothing(dim3 grid, dim3 block, size_t shared) {
    cudaError_t e = QL_LAUNCH((nothing), grid, block, shared, nullptr);
    (void)cudaGetLastError();
    return e;
}

static void launches_have_limits(void **) {
    in_good_child({}, [] {
        ok(launch_nothing(1, 1024, 0));
        require(launch_nothing(1, 1025, 0) == cudaErrorInvalidConfiguration);
        require(launch_nothing(1, dim3(32, 32, 2), 0) == cudaErrorInvalidConfiguration);
        require(launch_nothing(1, dim3(1, 1, 65), 0) == cudaErrorInvalidConfiguration);
        require(launch_nothing(0, 32, 0) == cudaErrorInvalidConfiguration);
        require(launch_nothing(dim3(1, 65536), 1, 0) == cudaErrorInvalidConfiguration);
        require(launch_nothing(dim3(1, 1, 65536), 1, 0) == cudaErrorInvalidConfiguration);
    });
}

static void shared_memory_by_capability(void **) {
    const struct {
        const char *capability;
        int kib;
    } cases[] = {{"75", 64}, {"80", 163}, {"86", 99}, {"89", 99}, {"90", 227}};
    for (const auto &c : cases)
        in_good_child({{"QL_EMU_CAPABILITY", c.capability}}, [&] {
            int most;
            ok(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
            require(most == c.kib << 10);
            ok(launch_nothing(1, 1, 48 << 10));
            require(launch_nothing(1, 1, (48 << 10) + 1) == cudaErrorInvalidValue);
            require(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, most + 1) ==
                    cudaErrorInvalidValue);
            require(cudaGetLastError() == cudaErrorInvalidValue);
            ok(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, most));
            ok(launch_nothing(1, 1, static_cast<size_t>(most)));
            require(launch_nothing(1, 1, static_cast<size_t>(most) + 1) == cudaErrorInvalidValue);
        });
    in_good_child({{"QL_EMU_CAPABILITY", "70"}},
                  [] { require(launch_nothing(1, 1, 0) == cudaErrorNoKernelImageForDevice); });
}

/* ---- streams ---- */

static cudaStream_t new_stream() {
    cudaStream_t s;
    ok(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}
static cudaEvent_t new_event() {
    cudaEvent_t e;
    ok(cudaEventCreateWithFlags(&e, cudaEventDefault));
    return e;
}
/* A byte on the device, and what it is now, whatever is queued. */
static unsigned char *new_byte() {
    unsigned char *p;
    ok(cudaMalloc(&p, 1));
    ok(cudaMemset(p, 0, 1));
    ok(cudaStreamSynchronize(nullptr));
    return p;
}
static int now(const unsigned char *p) {
    return *p;
}

static void immediate_streams(void **) {
    in_good_child({}, [] {
        unsigned char *p = new_byte();
        cudaStream_t s = new_stream();
        ok(launch_write(p, 0, 1, s));
        require(now(p) == 1);
        ok(cudaStreamQuery(s));
    });
}

static void a_query_makes_one_step(void **) {
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        unsigned char *p = new_byte();
        cudaStream_t s = new_stream();
        cudaEvent_t e = new_event();
        ok(launch_write(p, 0, 1, s));
        ok(launch_write(p, 0, 2, s));
        ok(cudaEventRecord(e, s));
        require(now(p) == 0);
        require(cudaEventQuery(e) == cudaErrorNotReady && now(p) == 1);
        require(cudaStreamQuery(s) == cudaErrorNotReady && now(p) == 2);
        require(cudaPeekAtLastError() == cudaSuccess); /* it is no error */
        ok(launch_write(p, 0, 3, s));
        ok(cudaEventQuery(e));
        require(now(p) == 2);
        ok(cudaStreamSynchronize(s));
        require(now(p) == 3);
    });
}

static void other_streams_by_setting(void **) {
    auto body = [](bool other_ran) {
        unsigned char *p = new_byte(), *q = new_byte();
        cudaStream_t s = new_stream(), other = new_stream();
        ok(launch_write(p, 0, 1, s));
        ok(launch_write(q, 0, 1, other));
        ok(cudaStreamSynchronize(s));
        require(now(p) == 1 && now(q) == other_ran);
    };
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [&] { body(false); });
    in_good_child({{"QL_EMU_STREAMS", "deferred"}, {"QL_EMU_OTHER_STREAMS", "first"}}, [&] { body(true); });
}

/* A reader on one stream, a writer on another. */
static int what_a_reader_finds(bool waits) {
    unsigned char *p = new_byte(), *q = new_byte(), found;
    cudaStream_t writer = new_stream(), reader = new_stream();
    cudaEvent_t e = new_event();
    ok(launch_write(p, 0, 1, writer));
    ok(cudaEventRecord(e, writer));
    ok(launch_write(p, 0, 2, writer));
    if (waits) ok(cudaStreamWaitEvent(reader, e, 0));
    ok(cudaMemcpyAsync(q, p, 1, cudaMemcpyDeviceToDevice, reader));
    ok(cudaMemcpyAsync(&found, q, 1, cudaMemcpyDeviceToHost, reader));
    return found;
}

static void events_order_streams(void **) {
    in_good_child({}, [] { require(what_a_reader_finds(false) == 2); });
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] { require(what_a_reader_finds(false) == 0); });
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] { require(what_a_reader_finds(true) == 1); });
    for (const char *seed : {"1", "2", "3", "4", "5", "6"})
        in_good_child({{"QL_EMU_STREAMS", "deferred"}, {"QL_EMU_OTHER_STREAMS", seed}},
                      [] { require(what_a_reader_finds(true) >= 1); });
}

static void a_wait_is_for_what_was_recorded(void **) {
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        unsigned char *p = new_byte();
        cudaStream_t a = new_stream(), b = new_stream();
        cudaEvent_t e = new_event();
        ok(cudaStreamWaitEvent(b, e, 0)); /* never recorded: nothing to wait for */
        ok(cudaEventQuery(e));
        ok(launch_write(p, 0, 1, a));
        ok(cudaEventRecord(e, a));
        ok(cudaStreamWaitEvent(b, e, 0));
        ok(launch_write(p, 0, 2, a));
        ok(cudaEventRecord(e, a)); /* does not change what b waits for */
        ok(cudaEventDestroy(e));
        ok(cudaStreamDestroy(a));
        ok(cudaStreamSynchronize(b));
        require(now(p) == 1);
        ok(cudaDeviceSynchronize());
        require(now(p) == 2);
        require(cudaStreamSynchronize(a) == cudaErrorInvalidResourceHandle);
        require(cudaEventQuery(e) == cudaErrorInvalidResourceHandle);
    });
}

static void pageable_and_pinned(void **) {
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        unsigned char *p = new_byte(), *pinned, pageable = 5, told = 0;
        cudaStream_t s = new_stream();
        ok(cudaMallocHost(&pinned, 1));
        ok(cudaMemcpyAsync(p, &pageable, 1, cudaMemcpyHostToDevice, s));
        pageable = 6; /* too late to matter */
        ok(cudaMemcpyAsync(&told, p, 1, cudaMemcpyDeviceToHost, s));
        require(told == 5);
        *pinned = 7;
        ok(cudaMemcpyAsync(p, pinned, 1, cudaMemcpyHostToDevice, s));
        *pinned = 8; /* too early */
        ok(cudaStreamSynchronize(s));
        require(now(p) == 8);
        *pinned = 0;
        ok(cudaMemcpyAsync(pinned, p, 1, cudaMemcpyDeviceToHost, s));
        require(*pinned == 0);
        ok(cudaStreamSynchronize(s));
        require(*pinned == 8);
    });
}

static void stream_zero(void **) {
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        unsigned char *p = new_byte(), *q = new_byte(), found = 9;
        cudaStream_t blocking, other = new_stream();
        ok(cudaStreamCreate(&blocking));
        ok(launch_write(p, 0, 1, blocking));
        ok(launch_write(q, 0, 1, other));
        ok(cudaMemcpy(&found, p, 1, cudaMemcpyDeviceToHost)); /* waits for `blocking`, not for `other` */
        require(found == 1);
        ok(cudaMemcpy(&found, q, 1, cudaMemcpyDeviceToHost));
        require(found == 0);
        ok(cudaMemset(p, 4, 1));
        ok(cudaMemcpyAsync(&found, p, 1, cudaMemcpyDeviceToHost, blocking)); /* waits for stream 0 */
        require(found == 4);
    });
}

static void events_measure_time(void **) {
    in_good_child({{"QL_EMU_STREAMS", "deferred"}}, [] {
        cudaStream_t s = new_stream();
        cudaEvent_t a = new_event(), b = new_event(), untimed;
        float ms;
        ok(cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming));
        require(cudaEventElapsedTime(&ms, a, b) == cudaErrorInvalidResourceHandle);
        ok(cudaEventRecord(a, s));
        ok(cudaEventRecord(b, s));
        ok(cudaEventRecord(untimed, s));
        require(cudaEventElapsedTime(&ms, a, b) == cudaErrorNotReady);
        ok(cudaEventSynchronize(b));
        ok(cudaEventElapsedTime(&ms, a, b));
        require(ms >= 0);
        require(cudaEventElapsedTime(&ms, a, untimed) == cudaErrorInvalidResourceHandle);
    });
}

/* ---- failing on purpose ---- */

static void the_nth_allocation_fails(void **) {
    in_good_child({{"QL_EMU_FAIL_MALLOC", "2"}}, [] {
        void *p, *q;
        ok(cudaMalloc(&p, 8));
        require(cudaMalloc(&q, 8) == cudaErrorMemoryAllocation);
        require(cudaPeekAtLastError() == cudaErrorMemoryAllocation);
        require(launch_nothing(1, 1, 0) == cudaErrorMemoryAllocation); /* nobody has asked for the error */
        ok(launch_nothing(1, 1, 0));
        ok(cudaMalloc(&q, 8));
    });
}

static void a_final_error_stays(void **) {
    in_good_child({{"QL_EMU_FAIL", "cudaMemcpyAsync:2:cudaErrorECCUncorrectable"}}, [] {
        char *p, host = 0;
        ok(cudaMalloc(&p, 1));
        ok(cudaMemcpyAsync(p, &host, 1, cudaMemcpyHostToDevice, nullptr));
        require(cudaMemcpyAsync(p, &host, 1, cudaMemcpyHostToDevice, nullptr) == cudaErrorECCUncorrectable);
        require(cudaGetLastError() == cudaErrorECCUncorrectable);
        require(cudaGetLastError() == cudaErrorECCUncorrectable);
        require(cudaMemcpyAsync(p, &host, 1, cudaMemcpyHostToDevice, nullptr) == cudaErrorECCUncorrectable);
        require(cudaDeviceSynchronize() == cudaErrorECCUncorrectable);
        require(!strcmp(cudaGetErrorName(cudaErrorECCUncorrectable), "cudaErrorECCUncorrectable"));
    });
}

static void a_kernel_that_dies_is_noticed_later(void **) {
    auto body = [] {
        unsigned char *p = new_byte();
        cudaStream_t s = new_stream();
        ok(launch_write(p, 0, 1, s));
        ok(launch_write(p, 0, 2, s));
        require(cudaStreamSynchronize(s) == cudaErrorIllegalAddress);
        require(now(p) == 1);
        require(launch_write(p, 0, 3, s) == cudaErrorIllegalAddress);
    };
    in_good_child({{"QL_EMU_FAIL", "launch:2:cudaErrorIllegalAddress"}}, body);
    in_good_child({{"QL_EMU_FAIL", "launch:2:cudaErrorIllegalAddress"}, {"QL_EMU_STREAMS", "deferred"}}, body);
    in_good_child({{"QL_EMU_FAIL", "launch:1:cudaErrorLaunchOutOfResources"}}, [] {
        require(launch_nothing(1, 1, 0) == cudaErrorLaunchOutOfResources);
        ok(launch_nothing(1, 1, 0));
    });
}

static void calls_are_counted(void **) {
    char path[] = "/tmp/emulated_calls_XXXXXX", told[256] = "";
    int file = mkstemp(path);
    assert_true(file >= 0);
    in_good_child({{"QL_EMU_CALLS", path}}, [] {
        void *p;
        for (int i = 0; i < 3; i++) ok(cudaMalloc(&p, 8));
        ok(launch_nothing(1, 1, 0));
    });
    assert_true(read(file, told, sizeof told - 1) > 0);
    close(file);
    unlink(path);
    assert_non_null(strstr(told, "cudaMalloc 3\n"));
    assert_non_null(strstr(told, "launch 1\n"));
}

int main(void) {
    const CMUnitTest tests[] = {
        cmocka_unit_test(a_device_is_there),
        cmocka_unit_test(no_device_and_no_driver),
        cmocka_unit_test(unequal_devices),
        cmocka_unit_test(visible_devices),
        cmocka_unit_test(made_up_uuids_differ),
        cmocka_unit_test(nonsense_in_the_settings),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(fresh_memory_is_not_a_number),
        cmocka_unit_test(writing_beside_memory),
        cmocka_unit_test(using_freed_memory),
        cmocka_unit_test(the_host_is_kept_out),
        cmocka_unit_test(copies_are_checked),
        cmocka_unit_test(launches_have_limits),
        cmocka_unit_test(shared_memory_by_capability),
        cmocka_unit_test(immediate_streams),
        cmocka_unit_test(a_query_makes_one_step),
        cmocka_unit_test(other_streams_by_setting),
        cmocka_unit_test(events_order_streams),
        cmocka_unit_test(a_wait_is_for_what_was_recorded),
        cmocka_unit_test(pageable_and_pinned),
        cmocka_unit_test(stream_zero),
        cmocka_unit_test(events_measure_time),
        cmocka_unit_test(the_nth_allocation_fails),
        cmocka_unit_test(a_final_error_stays),
        cmocka_unit_test(a_kernel_that_dies_is_noticed_later),
        cmocka_unit_test(calls_are_counted),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
