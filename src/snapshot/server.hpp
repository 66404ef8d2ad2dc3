// One request after another: a transaction for each, an answer to each, and no error ends more than its own. Runs in the
// process that reads. Between requests nothing is open: no transaction, no snapshot, no lock.
#pragma once

#include "core/snapshot.hpp"

#include "pg/reader_link.hpp"
#include "snapshot/answers.hpp"

namespace plank::snapshot {

class Server {
 public:
	explicit Server(pg::ReaderEnd& worker) noexcept : worker_(worker), answers_(worker) {}
	// Until the worker goes or the server stops.
	void run();

 private:
	void answer(std::string_view bytes);
	void fail(const core::SnapshotFailure& failure);

	pg::ReaderEnd& worker_;
	Answers answers_;
};

}  // namespace plank::snapshot
