// For Arduino, which looks for a library's headers here.
#pragma once

#include "../include/espmint_device.hpp"
#ifdef ESP_PLATFORM
#include "../include/espmint_esp_idf.hpp"
#endif
