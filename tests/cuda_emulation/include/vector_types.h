/* The small vectors of CUDA and what makes them. */
#pragma once

#define QL_EMULATION_VECTORS(NAME, T)                                                                                  \
    struct NAME##1 {                                                                                                   \
        T x;                                                                                                           \
    };                                                                                                                 \
    struct alignas(2 * sizeof(T)) NAME##2 {                                                                            \
        T x, y;                                                                                                        \
    };                                                                                                                 \
    struct NAME##3 {                                                                                                   \
        T x, y, z;                                                                                                     \
    };                                                                                                                 \
    struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) NAME##4 {                                                  \
        T x, y, z, w;                                                                                                  \
    };                                                                                                                 \
    static inline NAME##2 make_##NAME##2(T x, T y) {                                                                   \
        return {x, y};                                                                                                 \
    }                                                                                                                  \
    static inline NAME##3 make_##NAME##3(T x, T y, T z) {                                                              \
        return {x, y, z};                                                                                              \
    }                                                                                                                  \
    static inline NAME##4 make_##NAME##4(T x, T y, T z, T w) {                                                         \
        return {x, y, z, w};                                                                                           \
    }
QL_EMULATION_VECTORS(char, signed char)
QL_EMULATION_VECTORS(uchar, unsigned char)
QL_EMULATION_VECTORS(short, short)
QL_EMULATION_VECTORS(ushort, unsigned short)
QL_EMULATION_VECTORS(int, int)
QL_EMULATION_VECTORS(uint, unsigned int)
QL_EMULATION_VECTORS(longlong, long long)
QL_EMULATION_VECTORS(ulonglong, unsigned long long)
QL_EMULATION_VECTORS(float, float)
QL_EMULATION_VECTORS(double, double)
#undef QL_EMULATION_VECTORS

struct dim3 {
    unsigned int x, y, z;
    dim3(unsigned int x_ = 1, unsigned int y_ = 1, unsigned int z_ = 1) : x(x_), y(y_), z(z_) {}
    dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};
