// Golden vectors: inputs with the outputs that @GOLDEN_SOURCE@ returned for
// them, and how far a value of each output may be off.
#pragma once
#include "model_settings.h"

#define GOLDEN_COUNT @COUNT@
@TOLERANCES@
@GOLDEN_DECLARATIONS@
