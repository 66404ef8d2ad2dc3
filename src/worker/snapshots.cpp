// The pool of processes that read snapshots, and the line before it. Runs in the worker.
#include "worker/snapshots.hpp"

#include <algorithm>
#include <utility>

#include "pg/encoding.hpp"
#include "pg/guard.hpp"
#include "pg/process.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr unsigned kLongestBackOff = 6;  // doublings of a second
// A queue keeps the memory that its largest message has taken, so its process is not used again after one like this.
constexpr size_t kLargeMessage = 4 * 1024 * 1024;

}  // namespace

//   idle ──request──▶ busy ──done, failed, cancelled──▶ idle
struct SnapshotPool::Reader {
	std::unique_ptr<pg::ReaderHandle> link;
	Request request;
	bool busy = false;
	bool cancelled = false;  // whatever still comes is of no interest
	bool worn_out = false;
	uint32_t requests = 0;  // so far
	std::string unsent;     // the request, as long as the queue has not taken all of it
	core::SnapshotFailure failure{"57P01", "the process that read the snapshot has ended", "", true};  // should it go
	Clock::time_point idle_since;

	void become_idle()
	{
		busy = false;
		idle_since = Clock::now();
	}
};

SnapshotPool::SnapshotPool() = default;
SnapshotPool::~SnapshotPool() = default;

size_t SnapshotPool::running() const noexcept
{
	return static_cast<size_t>(
	    std::count_if(readers_.begin(), readers_.end(), [](const auto& reader) { return reader->busy; }));
}

uint64_t SnapshotPool::start(core::SnapshotRequest request)
{
	line_.push_back({++last_id_, std::move(request)});
	SetLatch(MyLatch);
	return last_id_;
}

void SnapshotPool::cancel(uint64_t id)
{
	std::erase_if(line_, [&](const Request& request) { return request.id == id; });
	for (const std::unique_ptr<Reader>& reader : readers_) {
		if (!reader->busy || reader->request.id != id || reader->cancelled) continue;
		reader->cancelled = true;
		reader->link->cancel(reader->requests);
		SetLatch(MyLatch);
	}
}

void SnapshotPool::take_more(uint64_t id, bool on)
{
	for (Request& request : line_)
		if (request.id == id) request.take = on;
	for (const std::unique_ptr<Reader>& reader : readers_)
		if (reader->busy && reader->request.id == id) reader->request.take = on;
	if (on) SetLatch(MyLatch);
}

bool SnapshotPool::poll(core::SnapshotHandler& handler, Clock::time_point deadline)
{
	end_idle(Clock::now());
	hand_out(Clock::now());
	// What callbacks ask for changes the line and the readers' states, never which readers there are.
	bool more = false;
	for (size_t i = 0; i < readers_.size();) {
		const Outcome outcome = listen(*readers_[i], handler, deadline);
		more |= outcome == Outcome::more;
		if (outcome != Outcome::gone) {
			++i;
			continue;
		}
		std::unique_ptr<Reader> lost = std::move(readers_[i]);
		readers_.erase(readers_.begin() + static_cast<ptrdiff_t>(i));
		lose(std::move(lost), handler);
	}
	// Another one is the first to be heard the next time.
	if (readers_.size() > 1) std::rotate(readers_.begin(), readers_.begin() + 1, readers_.end());
	// One that is not used again makes room at once.
	end_idle(Clock::now());
	hand_out(Clock::now());
	return more;
}

void SnapshotPool::end_idle(Clock::time_point now)
{
	std::erase_if(readers_, [&](const std::unique_ptr<Reader>& reader) {
		return !reader->busy && (reader->worn_out || now - reader->idle_since >= patience_ || readers_.size() > limit_);
	});
}

void SnapshotPool::hand_out(Clock::time_point now)
{
	while (!line_.empty()) {
		Reader* const reader = free_reader(now);
		if (!reader) return;
		reader->request = std::move(line_.front());
		line_.pop_front();
		reader->busy = true;
		reader->cancelled = false;
		++reader->requests;
		reader->unsent = reader->request.request.encode();
		// It may be gone by now; then the next look finds that out.
		if (reader->link->send(reader->unsent) == pg::Transfer::done) reader->unsent.clear();
	}
}

// One that has nothing to do, or a new one.
SnapshotPool::Reader* SnapshotPool::free_reader(Clock::time_point now)
{
	size_t busy = 0;
	Reader* free = nullptr;
	for (const std::unique_ptr<Reader>& reader : readers_) {
		busy += reader->busy;
		if (!reader->busy && !reader->worn_out) free = reader.get();
	}
	if (busy >= limit_) return nullptr;
	if (free) return free;
	if (readers_.size() >= limit_ || now < next_start_) return nullptr;
	try {
		std::unique_ptr<pg::ReaderHandle> link = pg::ReaderHandle::start();
		if (!link) {
			back_off(now, "no process can be started for snapshots", "All of max_worker_processes are in use.",
			         "Raise max_worker_processes, or lower plank.max_snapshots.");
			return nullptr;
		}
		readers_.push_back(std::make_unique<Reader>());
		readers_.back()->link = std::move(link);
		return readers_.back().get();
	} catch (pg::Error& error) {
		back_off(now, "no process can be started for snapshots", error.what(), error.data()->hint);
		error.release();
		return nullptr;
	}
}

SnapshotPool::Outcome SnapshotPool::listen(Reader& reader, core::SnapshotHandler& handler, Clock::time_point deadline)
{
	while (!reader.busy || reader.cancelled || reader.request.take) {
		std::string_view message;
		switch (hear(reader, message)) {
			case pg::Transfer::later:
				return Outcome::idle;
			case pg::Transfer::gone:
				return Outcome::gone;
			case pg::Transfer::done:
				answer(reader, message, handler);
		}
		if (Clock::now() >= deadline) return Outcome::more;
	}
	return Outcome::idle;
}

// The next message, once the request has gone out.
pg::Transfer SnapshotPool::hear(Reader& reader, std::string_view& message)
{
	try {
		if (!reader.unsent.empty() && reader.link->send(reader.unsent) == pg::Transfer::done) reader.unsent.clear();
		return reader.link->receive(message);
	} catch (pg::Error& error) {
		// The message is larger than what memory is left. It stays half taken, so the process cannot be used any more.
		reader.failure = {"53200", pg::to_utf8(error.what()), "", false};
		error.release();
		return pg::Transfer::gone;
	}
}

void SnapshotPool::answer(Reader& reader, std::string_view message, core::SnapshotHandler& handler)
{
	failed_starts_ = 0;
	reader.worn_out |= message.size() > kLargeMessage;
	// Rows of another request would be shown to somebody who may not see them, so that readers are not relied on here.
	uint32_t number = 0;
	memcpy(&number, message.data() + 1, sizeof number);
	if (number != reader.requests) return;
	const uint64_t id = reader.request.id;
	const bool wanted = reader.busy && !reader.cancelled;
	const std::string_view content = message.substr(core::kMessageHead);
	switch (static_cast<core::SnapshotMessage>(message.front())) {
		case core::SnapshotMessage::header:
			if (!wanted) break;
			if (auto header = core::SnapshotHeader::decode(content)) handler.snapshot_began(id, *std::move(header));
			break;
		case core::SnapshotMessage::rows: {
			if (!wanted) break;
			uint32_t count = 0;
			memcpy(&count, content.data(), sizeof count);
			handler.snapshot_rows(id, message.substr(core::kRowsHead), count);
			break;
		}
		case core::SnapshotMessage::spent:
			reader.worn_out = true;
			break;
		case core::SnapshotMessage::done:
			reader.become_idle();
			if (wanted) handler.snapshot_done(id);
			break;
		case core::SnapshotMessage::failed:
			reader.become_idle();
			if (!wanted) break;
			if (const auto failure = core::SnapshotFailure::decode(content)) handler.snapshot_failed(id, *failure);
			break;
		case core::SnapshotMessage::cancelled:
			reader.become_idle();
			break;
	}
}

// A process has gone that nobody has told to go.
void SnapshotPool::lose(std::unique_ptr<Reader> reader, core::SnapshotHandler& handler)
{
	if (!reader->link->has_served()) {
		back_off(Clock::now(), "a process started for snapshots has ended at once", nullptr,
		         "Its own line in the server log says why.");
		if (reader->busy && !reader->cancelled) line_.push_front(std::move(reader->request));
		return;
	}
	if (!reader->busy || reader->cancelled) return;
	const uint64_t id = reader->request.id;
	core::SnapshotFailure failure = std::move(reader->failure);
	if (reader->link->was_stuck()) failure = {"53400", core::kRowsTookTooLong, "", false};
	reader.reset();
	handler.snapshot_failed(id, failure);
}

// Said once, and again when it has worked in between.
void SnapshotPool::back_off(Clock::time_point now, const char* message, const char* detail, const char* hint)
{
	if (failed_starts_ == 0) pg::log_line(WARNING, message, detail, hint);
	next_start_ = now + std::chrono::seconds(1u << std::min(failed_starts_, kLongestBackOff));
	++failed_starts_;
}

}  // namespace plank::worker
