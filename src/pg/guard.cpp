// The two guards' shared, out-of-line parts. Runs in every process.
#include "pg/guard.hpp"

#include <cstring>
#include <string>

#include "pg/postgres.hpp"

namespace plank::pg {

namespace {
MemoryContext error_memory = nullptr;
}

void keep_errors_in(MemoryContext memory) noexcept { error_memory = memory; }

ErrorData* take_error(MemoryContext context) noexcept
{
	// The error may have come while the current context was one that is about to be reset (a per-tuple context), so the
	// copy lives where the caller of `call` worked. ErrorContext itself must never hold it: FlushErrorState resets that.
	const MemoryContext memory = error_memory ? error_memory : context;
	MemoryContextSwitchTo(memory == ErrorContext ? TopMemoryContext : memory);
	ErrorData* data = CopyErrorData();
	FlushErrorState();
	MemoryContextSwitchTo(context);
	return data;
}

void raise(int sqlstate, const char* message, const char* detail, const char* hint)
{
	call([&] {
		ereport(ERROR, (errcode(sqlstate), errmsg("%s", message), detail ? errdetail("%s", detail) : 0,
		                hint ? errhint("%s", hint) : 0));
	});
	std::terminate();
}

void describe_current_exception(Raised& raised) noexcept
{
	raised.sqlstate = ERRCODE_INTERNAL_ERROR;
	const char* text = "unknown C++ exception";
	try {
		throw;
	} catch (const Error& error) {
		raised.error = error.data();
		return;
	} catch (const std::bad_alloc&) {
		raised.sqlstate = ERRCODE_OUT_OF_MEMORY;
		text = "out of memory";
		strlcpy(raised.message, text, sizeof raised.message);
		return;
	} catch (const std::exception& error) {
		strlcpy(raised.message, error.what(), sizeof raised.message);
		return;
	} catch (...) {}
	strlcpy(raised.message, text, sizeof raised.message);
}

void reraise(const Raised& raised)
{
	if (raised.error) {
		if (raised.error->elevel >= ERROR) ReThrowError(raised.error);
	}
	ereport(ERROR, (errcode(raised.sqlstate), errmsg("plank: %s", raised.message)));
	pg_unreachable();
}

}  // namespace plank::pg
