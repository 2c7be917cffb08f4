/* The parts of codegen_generated_test. */
#ifndef SKERRY_TESTS_CODEGEN_TESTS_H
#define SKERRY_TESTS_CODEGEN_TESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first. */
#include <cmocka.h>

int presence_tests(void);
int opaque_tests(void);

#endif
