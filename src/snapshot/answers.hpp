// What goes back to the worker, put together in one buffer that outlives errors. Runs in the process that reads.
// Functions may ereport and own nothing with a destructor: the executor's rows come through here.
#pragma once

#include "core/snapshot.hpp"

#include <string_view>

#include "pg/reader_link.hpp"

namespace plank::snapshot {

class Answers {
 public:
	explicit Answers(pg::ReaderEnd& worker) noexcept : worker_(worker) {}

	// True once the worker has gone; what is sent then fails.
	bool is_unwanted() const noexcept { return unwanted_; }

	// A row is what is appended to `row` between these two. Full batches are sent, and sending waits for the worker.
	StringInfo begin_row();
	void end_row();
	// What is left of the last batch.
	void send_rows();

	void send(core::SnapshotMessage kind, std::string_view content);
	// After an error: brings what it has interrupted to its end, and forgets rows that were not yet sent.
	void recover();
	// Gives memory back that large rows have taken.
	void shrink();

 private:
	void begin(core::SnapshotMessage kind);
	void send_buffer();

	pg::ReaderEnd& worker_;
	StringInfoData buffer_{};
	uint32_t rows_ = 0;
	bool unwanted_ = false;
};

}  // namespace plank::snapshot
