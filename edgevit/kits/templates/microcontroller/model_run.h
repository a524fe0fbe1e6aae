// The interpreter, as the rest of the program sees it.
#pragma once

bool model_setup();            // once, at the start; false: see what the interpreter logged
void *model_input(int number);  // write levels here, anew before each run
bool model_invoke();
const void *model_output(int number);
