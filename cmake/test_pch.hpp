// The same for the tests, which all include GoogleTest.
#include <gtest/gtest.h>

#include "pch.hpp"
