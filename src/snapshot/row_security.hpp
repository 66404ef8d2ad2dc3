// A table's row security while its rows are read as a client: PostgreSQL's own rewriter puts the policies into the query;
// this sees to it that they suit what follows the snapshot, and that their errors tell the client nothing of rows that
// are hidden from it. Runs in the process that reads.
#pragma once

#include <string>

#include "pg/execution.hpp"
#include "pg/guard.hpp"

namespace plank::snapshot {

class RowSecurity {
 public:
	// Of whoever is current user. `relation` must stay open. Throws pg::Error.
	explicit RowSecurity(Relation relation);
	RowSecurity(const RowSecurity&) = delete;
	RowSecurity& operator=(const RowSecurity&) = delete;

	// The query, whose first table is the relation, with the policies in it. Throws pg::Error.
	Query* rewrite(Query* query);
	// What has ended the rewriting or what came after it, as the client may be told it: throws it anew in words that
	// quote no row and has its own in the server's log, or returns when it may be told as it is.
	void cover(pg::Error& error) const;

 private:
	const Relation relation_;
	std::string role_;
	bool applies_ = false;
	bool covers_ = false;
};

}  // namespace plank::snapshot
