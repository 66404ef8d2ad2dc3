// What a caller of plank.track asked for, checked against the table. Runs in ordinary sessions. These may ereport: call
// them inside pg::call. Everything lives in CurrentMemoryContext.
#pragma once

#include "core/capture_arguments.hpp"

#include "pg/catalog.hpp"

namespace plank::backend {

// The arguments of plank.track as they came; a null pointer is a NULL.
struct TrackArguments {
	Oid relation;
	ArrayType* events;
	ArrayType* columns;
	const char* filter;
	const char* notify;
};

struct TrackRequest {
	bool wanted[core::kCaptureModes];  // which triggers, by core::CaptureMode
	const char* columns;               // trigger arguments
	const char* notify;
	Node* filter;  // or null
};

// Whether the current user may track the table, and whether it is one that can be: errors when not. Takes no lock.
void check_trackable(Oid relation);
void check_owner(Oid relation);

// Checks the arguments and works out which triggers they need. Names in the filter are resolved in the current
// search_path.
TrackRequest* read_request(const TrackArguments& arguments, Relation relation);

// Says which columns `all columns` leaves out.
void notice_virtual_columns(Relation relation);

// The WHEN condition of one of the request's triggers as SQL, printed for the current search_path; null without filter.
const char* when_condition(const TrackRequest& request, core::CaptureMode mode, Oid relation);

}  // namespace plank::backend
