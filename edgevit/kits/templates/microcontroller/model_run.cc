#include "model_run.h"

#include "model_data.h"
#include "model_settings.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
alignas(16) uint8_t arena[ARENA_BYTES];
tflite::MicroInterpreter *interpreter = nullptr;
}  // namespace

bool model_setup() {
    tflite::InitializeTarget();
    static tflite::MicroMutableOpResolver<@OPERATOR_COUNT@> resolver;
@OPERATORS@
    static tflite::MicroInterpreter own(tflite::GetModel(model_data), resolver, arena, ARENA_BYTES);
    interpreter = &own;
    return own.AllocateTensors() == kTfLiteOk;
}

void *model_input(int number) {
    switch (number) {
@SETTERS@
    }
    return nullptr;
}

bool model_invoke() { return interpreter->Invoke() == kTfLiteOk; }

const void *model_output(int number) {
    switch (number) {
@READERS@
    }
    return nullptr;
}
