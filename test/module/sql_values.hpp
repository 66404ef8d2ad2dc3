// Arguments and results of SQL functions, and statements, with text as the worker has it: in UTF-8. Run in ordinary sessions
// of test databases. All throw pg::Error.
#pragma once

#include <string>
#include <vector>

#include "pg/session.hpp"

namespace plank_test {

std::string text_argument(FunctionCallInfo fcinfo, int number);
std::vector<std::string> texts_argument(FunctionCallInfo fcinfo, int number);
std::string name_argument(FunctionCallInfo fcinfo, int number);
Datum text_result(const std::string& text);

// Nothing when it is empty.
void execute(const std::string& statement);

// `pattern` with each %s as `number`.
std::string with_number(std::string pattern, int number);

// CPU time of this process.
double cpu_seconds();

}  // namespace plank_test
