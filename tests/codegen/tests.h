/* The parts of codegen_generated_test. */
#ifndef SKERRY_TESTS_CODEGEN_TESTS_H
#define SKERRY_TESTS_CODEGEN_TESTS_H

#include "tests/support/unit.h"

int presence_tests(void);
int opaque_tests(void);

#endif
