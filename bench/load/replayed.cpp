#include "replayed.hpp"

#include <libpq-fe.h>
#include <stdexcept>
#include <utility>

#include "clock.hpp"

namespace plank::bench {

namespace {

constexpr int64_t kGap = 10'000'000;
constexpr int64_t kBetweenQuestions = 50'000;
constexpr int64_t kPatience = 180'000'000'000;

class Connection {
 public:
	explicit Connection(const std::string& conninfo) : connection_(PQconnectdb(conninfo.c_str()))
	{
		if (PQstatus(connection_) == CONNECTION_OK) return;
		const std::string why = PQerrorMessage(connection_);
		PQfinish(connection_);
		throw std::runtime_error(why);
	}
	~Connection() { PQfinish(connection_); }
	Connection(const Connection&) = delete;
	Connection& operator=(const Connection&) = delete;

	// The first value of the first row, or nothing.
	std::string ask(const std::string& sql)
	{
		PGresult* result = PQexec(connection_, sql.c_str());
		const ExecStatusType status = PQresultStatus(result);
		std::string value;
		if (status == PGRES_TUPLES_OK && PQntuples(result) > 0) value = PQgetvalue(result, 0, 0);
		PQclear(result);
		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
			throw std::runtime_error(sql + ": " + PQerrorMessage(connection_));
		return value;
	}

 private:
	PGconn* connection_;
};

}  // namespace

Replayed::Replayed(std::string primary, std::string standby, std::string table, unsigned rows)
    : primary_(std::move(primary)),
      standby_(std::move(standby)),
      table_(std::move(table)),
      rows_(rows),
      sent_(rows + 1),
      replayed_(rows + 1),
      thread_([this] {
	      try {
		      run();
	      } catch (...) {
		      error_ = std::current_exception();
	      }
	      finished_.store(true, std::memory_order_release);
      })
{}

Replayed::~Replayed()
{
	if (thread_.joinable()) thread_.join();
}

void Replayed::join()
{
	thread_.join();
	if (error_) std::rethrow_exception(error_);
}

void Replayed::run()
{
	Connection primary(primary_);
	Connection standby(standby_);
	for (unsigned i = 1; i <= rows_; ++i) {
		sleep_until(now_ns() + kGap);
		sent_[i] = now_ns();
		primary.ask("INSERT INTO " + table_ + " (mark, note) VALUES ('^0:" + std::to_string(i) +
		            "^', repeat('x', 115))");
		// Where the first question is answered with yes, the replay can have been as early as the commit's answer.
		int64_t asked = now_ns();
		const std::string lsn = primary.ask("SELECT pg_current_wal_flush_lsn()");
		const std::string question = "SELECT pg_last_wal_replay_lsn() >= '" + lsn + "'::pg_lsn";
		const int64_t deadline = asked + kPatience;
		while (standby.ask(question) != "t") {
			if (now_ns() > deadline) throw std::runtime_error("the standby does not replay");
			sleep_until(now_ns() + kBetweenQuestions);
			asked = now_ns();
		}
		replayed_[i] = asked;
	}
}

}  // namespace plank::bench
