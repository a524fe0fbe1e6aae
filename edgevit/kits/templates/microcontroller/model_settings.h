// @MODEL@ (@TARGET@): what goes in and out. A level stands for (level - ZERO_POINT) * SCALE; where
// SCALE is 0 the values are as they are.
#pragma once
#include <stdint.h>

// Measured in TensorFlow Lite Micro on a 64-bit machine (@MEASURED@ bytes), rounded up. Pointers of
// microcontrollers are half as long, so less is enough there.
#define ARENA_BYTES @ARENA@

@MACROS@
