#include "kernels/cpu/simd/routines.h"

#define QL_SIMD_ENTRY(NAME, RESULT, PARAMETERS) .NAME = ISA(ql_simd_##NAME),
#define AS_TEXT_(x) #x
#define AS_TEXT(x)  AS_TEXT_(x)
const ql_simd ISA(ql_simd) = {.name = AS_TEXT(QL_ISA),
                              .tile_rows = TILE_ROWS,
                              .tile_cols = TILE_COLS,
                              QL_SIMD_ROUTINES(QL_SIMD_ENTRY)};
_Static_assert(TILE_GROUP * TILE_ROWS <= QL_PANEL_ROWS, "a group of panels fits");
_Static_assert(QL_PANEL_COLS % TILE_COLS == 0 && QL_PANEL_ROWS % TILE_ROWS == 0, "panels are whole tiles");
