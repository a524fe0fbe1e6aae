// Golden vectors: inputs with the outputs that TensorFlow Lite Micro returned for them.
#pragma once
#include "model_settings.h"

#define GOLDEN_COUNT @COUNT@
@GOLDEN_DECLARATIONS@
