// Checks the golden vectors: 0 if this device computes what @GOLDEN_SOURCE@ computed.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden.h"
#include "model_run.h"

// How exact a value can be at all: floats are summed in another order elsewhere.
static inline double precision(float expected) { return 1e-4 * (1.0 + fabs(expected)); }
static inline double precision(int) { return 0.0; }

template <typename T>
static int count_different(const T *found, const T *expected, int count, double tolerance) {
    int wrong = 0;
    for (int i = 0; i < count; i++)
        wrong += !(fabs((double)found[i] - expected[i]) <= tolerance + precision(expected[i]));
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
