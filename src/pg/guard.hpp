// The two guards between C++ and PostgreSQL, and the only places where errors cross. `pg::call`: C++ calls PostgreSQL,
// an ereport becomes a C++ exception. `pg::entry`: PostgreSQL calls C++, an exception becomes an ereport.
// Runs in every process. Nothing else may catch or raise across the border: an ereport skips destructors, and an
// exception that leaves PG_TRY leaves PG_exception_stack dangling.
#pragma once

#include <exception>
#include <new>
#include <type_traits>
#include <utility>

#include "pg/postgres.hpp"

namespace plank::pg {

// A PostgreSQL error on its way through C++ frames. The ErrorData lives where the caller of `call` worked, or where
// `keep_errors_in` says, until `release` or until the guard at the border re-raises it.
class Error : public std::exception {
 public:
	explicit Error(ErrorData* data) noexcept : data_(data) {}
	const char* what() const noexcept override { return data_->message ? data_->message : "unknown error"; }
	ErrorData* data() const noexcept { return data_; }
	int sqlstate() const noexcept { return data_->sqlerrcode; }
	// Frees the error's memory: for whoever handles the error instead of raising it again.
	void release() noexcept
	{
		if (data_) FreeErrorData(data_);
		data_ = nullptr;
	}

 private:
	ErrorData* data_;
};

// Raises a PostgreSQL error from C++ code, with the SQLSTATE, detail and hint a user sees.
[[noreturn]] void raise(int sqlstate, const char* message, const char* detail = nullptr, const char* hint = nullptr);

// From now on errors live in `memory`: for a process that handles errors after the transaction they came from, whose
// memory goes with it.
void keep_errors_in(MemoryContext memory) noexcept;

// Copies the error being handled out of PostgreSQL's error stack and clears the stack. The one longjmp target of
// `call` uses it; not for others.
ErrorData* take_error(MemoryContext context) noexcept;

// Where errors go, put back on every way out: when `f` returns, when it throws, and after its longjmp.
struct ErrorTarget {
	sigjmp_buf* const stack = PG_exception_stack;
	ErrorContextCallback* const context = error_context_stack;

	ErrorTarget() = default;
	ErrorTarget(const ErrorTarget&) = delete;
	ErrorTarget& operator=(const ErrorTarget&) = delete;
	~ErrorTarget() { restore(); }
	void restore() const noexcept
	{
		PG_exception_stack = stack;
		error_context_stack = context;
	}
};

// Runs `f`, which may ereport, and turns the longjmp into a throw. `f` itself must own nothing with a destructor when
// it ereports; it may throw, as long as nothing of PostgreSQL's lies between. sigsetjmp without the signal mask: 13 to
// 44 ns.
template <typename F>
auto call(F&& f) -> decltype(f())
{
	const ErrorTarget former;
	const MemoryContext memory = CurrentMemoryContext;
	sigjmp_buf target;
	if (sigsetjmp(target, 0) == 0) {
		PG_exception_stack = &target;
		return f();
	}
	// An error while the error is copied must not come back here.
	former.restore();
	throw Error(take_error(memory));
}

// How an exception looks at PostgreSQL's side of the border; plain data, so that it survives the longjmp's frame.
struct Raised {
	ErrorData* error = nullptr;
	int sqlstate = 0;
	char message[256] = {};
};
void describe_current_exception(Raised& raised) noexcept;
[[noreturn]] void reraise(const Raised& raised);

// Runs `f`, which may throw, on behalf of PostgreSQL. The exception is destroyed before the error is raised: an ereport
// inside `catch` would leak it.
template <typename F>
auto entry(F&& f) -> decltype(f())
{
	Raised raised;
	try {
		return f();
	} catch (...) {
		describe_current_exception(raised);
	}
	reraise(raised);
}

}  // namespace plank::pg
