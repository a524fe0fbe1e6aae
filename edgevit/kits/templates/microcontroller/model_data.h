// @MODEL@: the model as bytes.
#pragma once
extern const unsigned char model_data[];
extern const unsigned int model_data_len;
