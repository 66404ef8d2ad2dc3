#include "writers.hpp"

#include <libpq-fe.h>
#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "clock.hpp"

namespace plank::bench {

namespace {

// Times are kept for the last so many numbers of a writer: far more than are ever on their way.
constexpr uint32_t kTimes = 1 << 19;

void execute(PGconn* connection, const char* sql)
{
	PGresult* result = PQexec(connection, sql);
	const ExecStatusType status = PQresultStatus(result);
	PQclear(result);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		throw std::runtime_error(std::string(sql) + ": " + PQerrorMessage(connection));
}

void execute_prepared(PGconn* connection, const char* first, const char* second)
{
	const char* const values[2] = {first, second};
	PGresult* result = PQexecPrepared(connection, "put", 2, values, nullptr, nullptr, 0);
	const ExecStatusType status = PQresultStatus(result);
	PQclear(result);
	if (status != PGRES_COMMAND_OK) throw std::runtime_error(std::string("insert: ") + PQerrorMessage(connection));
}

}  // namespace

struct Writers::Writer {
	unsigned number = 0;
	PGconn* connection = nullptr;
	std::thread thread;
	std::exception_ptr error;
	uint32_t seq = 0;
	std::unique_ptr<std::atomic<int64_t>[]> sent { new std::atomic<int64_t>[ kTimes ] };
	Histogram commits;
	std::string note;
	int64_t start = 0;
	int64_t end = 0;
	int64_t commit_sent = 0;

	void note_sent(uint32_t of, int64_t when) { sent[of % kTimes].store(when, std::memory_order_relaxed); }
};

Writers::Writers(WriterOptions options) : options_(std::move(options))
{
	for (unsigned i = 0; i < options_.writers; ++i) {
		Writer& writer = *writers_.emplace_back(std::make_unique<Writer>());
		writer.number = i;
		writer.note.assign(options_.note_size, 'x');
		writer.connection = PQconnectdb(options_.conninfo.c_str());
		if (PQstatus(writer.connection) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(writer.connection));
		const std::string insert = "INSERT INTO " + options_.table + " (mark, note) VALUES ($1, $2)";
		PGresult* result = PQprepare(writer.connection, "put", insert.c_str(), 2, nullptr);
		const bool prepared = PQresultStatus(result) == PGRES_COMMAND_OK;
		PQclear(result);
		if (!prepared) throw std::runtime_error(PQerrorMessage(writer.connection));
	}
}

Writers::~Writers()
{
	for (const auto& writer : writers_) {
		if (writer->thread.joinable()) writer->thread.join();
		PQfinish(writer->connection);
	}
}

void Writers::start(const Job& job)
{
	running_.store(options_.writers, std::memory_order_relaxed);
	for (const auto& each : writers_) {
		Writer& writer = *each;
		writer.commits.clear();
		writer.start = writer.end = writer.commit_sent = 0;
		writer.thread = std::thread([this, &writer, job] {
			try {
				run(writer, job);
			} catch (...) {
				writer.error = std::current_exception();
			}
			running_.fetch_sub(1, std::memory_order_release);
		});
	}
}

void Writers::join()
{
	for (const auto& writer : writers_)
		writer->thread.join();
	for (const auto& writer : writers_)
		if (writer->error) std::rethrow_exception(std::exchange(writer->error, nullptr));
}

int64_t Writers::sent_at(Mark mark) const noexcept
{
	return writers_[mark.writer]->sent[mark.seq % kTimes].load(std::memory_order_relaxed);
}

uint64_t Writers::committed() const noexcept
{
	uint64_t result = 0;
	for (const auto& writer : writers_)
		result += writer->seq;
	return result;
}

std::vector<uint32_t> Writers::last() const
{
	std::vector<uint32_t> result;
	for (const auto& writer : writers_)
		result.push_back(writer->seq);
	return result;
}

int64_t Writers::first_start_ns() const noexcept
{
	int64_t result = std::numeric_limits<int64_t>::max();
	for (const auto& writer : writers_)
		if (writer->start != 0) result = std::min(result, writer->start);
	return result;
}

int64_t Writers::last_end_ns() const noexcept
{
	int64_t result = 0;
	for (const auto& writer : writers_)
		result = std::max(result, writer->end);
	return result;
}

int64_t Writers::commit_sent_ns() const noexcept { return writers_.front()->commit_sent; }

Histogram Writers::commit_times() const
{
	Histogram result;
	for (const auto& writer : writers_)
		result.merge(writer->commits);
	return result;
}

void Writers::run(Writer& writer, const Job& job)
{
	if (job.rows > 0) {
		if (writer.number == 0) insert_rows(writer, job.rows);
		return;
	}
	const int64_t begin = now_ns();
	if (job.seconds > 0) {
		const int64_t end = begin + static_cast<int64_t>(job.seconds * 1e9);
		while (now_ns() < end)
			insert(writer, false);
		return;
	}
	for (uint32_t i = 0; i < job.inserts; ++i) {
		if (job.rate > 0)
			sleep_until(begin + static_cast<int64_t>((i * options_.writers + writer.number) * 1e9 / job.rate));
		insert(writer, job.rate > 0);
	}
}

void Writers::insert(Writer& writer, bool with_begin)
{
	const uint32_t seq = writer.seq + 1;
	const std::string mark = "^" + std::to_string(writer.number) + ":" + std::to_string(seq) + "^";
	if (writer.start == 0) writer.start = now_ns();
	if (with_begin) {
		execute(writer.connection, "BEGIN");
		execute_prepared(writer.connection, mark.c_str(), writer.note.c_str());
	}
	const int64_t sent = now_ns();
	writer.note_sent(seq, sent);
	if (with_begin)
		execute(writer.connection, "COMMIT");
	else
		execute_prepared(writer.connection, mark.c_str(), writer.note.c_str());
	writer.end = now_ns();
	writer.commits.add(writer.end - sent);
	writer.seq = seq;
}

void Writers::insert_rows(Writer& writer, uint32_t rows)
{
	const std::string first = std::to_string(writer.seq + 1);
	const std::string last = std::to_string(writer.seq + rows);
	const std::string sql = "INSERT INTO " + options_.table + " (mark, note) SELECT '^" +
	                        std::to_string(writer.number) + ":' || i || '^', '" + writer.note +
	                        "' FROM generate_series(" + first + ", " + last + ") AS i ORDER BY i";
	writer.start = now_ns();
	execute(writer.connection, "BEGIN");
	execute(writer.connection, sql.c_str());
	writer.commit_sent = now_ns();
	for (uint32_t i = 1; i <= rows; ++i)
		writer.note_sent(writer.seq + i, writer.commit_sent);
	execute(writer.connection, "COMMIT");
	writer.end = now_ns();
	writer.commits.add(writer.end - writer.commit_sent);
	writer.seq += rows;
}

}  // namespace plank::bench
