// @MODEL@ (@TARGET@): what goes in and out. A level stands for (level - ZERO_POINT) * SCALE; where
// SCALE is 0 the values are as they are.
#pragma once
#include <stdint.h>

@ARENA_NOTE@
#define ARENA_BYTES @ARENA@

@MACROS@
