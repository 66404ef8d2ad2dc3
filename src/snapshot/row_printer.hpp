// Rows as JSON objects, on their way from the executor to the worker. Runs in the process that reads. Everything may
// ereport: call it inside pg::call.
#pragma once

#include "core/snapshot.hpp"

#include "backend/json_output.hpp"
#include "pg/execution.hpp"
#include "snapshot/answers.hpp"

namespace plank::snapshot {

// One column of the rows: where its value comes in the row, and what stands in front of it.
struct PrintedColumn {
	const char* member;  // `"name":`, after the first column with a comma in front
	int member_length;
	const backend::ValueOutput* output;
	core::Numbers numbers;
};

// A destination of the executor's rows; it lives in CurrentMemoryContext.
DestReceiver* make_row_printer(Answers& answers, const PrintedColumn* columns, int count, bool numbers_as_text);

}  // namespace plank::snapshot
