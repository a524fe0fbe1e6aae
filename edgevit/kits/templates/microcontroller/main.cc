// Checks the golden vectors: 0 if this device computes what TensorFlow Lite Micro computed.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "model_run.h"

static inline int is_same(float found, float expected) {
    return fabsf(found - expected) <= 1e-4f * (1.0f + fabsf(expected));
}
static inline int is_same(int32_t found, int32_t expected) { return found == expected; }
static inline int is_same(int16_t found, int16_t expected) { return found == expected; }
static inline int is_same(int8_t found, int8_t expected) { return found == expected; }
static inline int is_same(uint8_t found, uint8_t expected) { return found == expected; }

template <typename T>
static int count_different(const T *found, const T *expected, int count) {
    int wrong = 0;
    for (int i = 0; i < count; i++) wrong += !is_same(found[i], expected[i]);
    return wrong;
}

int main() {
    if (!model_setup()) {
        printf("FAIL: the model cannot be set up\n");
        return 1;
    }
    int wrong = 0;
    for (int sample = 0; sample < GOLDEN_COUNT; sample++) {
@COPIES@
        if (!model_invoke()) wrong++;
@CHECKS@
    }
    printf("%s: %d golden vectors, %d values differ\n", wrong ? "FAIL" : "pass", GOLDEN_COUNT, wrong);
    return wrong ? 1 : 0;
}
