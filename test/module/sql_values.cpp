// What SQL functions are given and give. Runs in ordinary sessions of test databases.
#include "sql_values.hpp"

#include <ctime>

#include "pg/encoding.hpp"
#include "pg/guard.hpp"

extern "C" {
#include "executor/spi.h"
}

namespace pg = plank::pg;

namespace plank_test {

std::string text_argument(FunctionCallInfo fcinfo, int number)
{
	return pg::to_utf8(pg::call([&] { return text_to_cstring(PG_GETARG_TEXT_PP(number)); }));
}

std::vector<std::string> texts_argument(FunctionCallInfo fcinfo, int number)
{
	Datum* values = nullptr;
	int count = 0;
	pg::call([&] {
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(number), TEXTOID, -1, false, TYPALIGN_INT, &values, nullptr, &count);
	});
	std::vector<std::string> texts;
	for (int i = 0; i < count; ++i)
		texts.emplace_back(pg::to_utf8(pg::call([&] { return TextDatumGetCString(values[i]); })));
	return texts;
}

std::string name_argument(FunctionCallInfo fcinfo, int number) { return pg::to_utf8(NameStr(*PG_GETARG_NAME(number))); }

Datum text_result(const std::string& text)
{
	return pg::call([&] { return CStringGetTextDatum(pg::from_utf8(text).c_str()); });
}

void execute(const std::string& statement)
{
	if (statement.empty()) return;
	const std::string text = pg::from_utf8(statement);
	pg::call([&] {
		SPI_connect();
		SPI_execute(text.c_str(), false, 0);
		SPI_finish();
	});
}

std::string with_number(std::string pattern, int number)
{
	for (size_t at; (at = pattern.find("%s")) != std::string::npos;)
		pattern.replace(at, 2, std::to_string(number));
	return pattern;
}

double cpu_seconds()
{
	timespec time;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace plank_test
