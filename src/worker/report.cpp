// Writing the report file: one line a client ("c") and one a subscription ("s"), tab-separated, with backslash escapes as
// COPY has them. Runs in the worker, outside network callbacks.
#include "worker/web.hpp"

#include "worker/report.hpp"

#include <algorithm>

#include "pg/shared_state.hpp"
#include "pg/unit_of_work.hpp"

namespace plank::worker {

namespace {

constexpr size_t kLongest = 1000;  // bytes of a condition
constexpr size_t kMostColumns = 100;
constexpr const char* kMore = "…";

// Columns escaped as COPY's text format does it.
void add_field(std::string& out, std::string_view text)
{
	out += '\t';
	for (const char c : text) {
		switch (c) {
			case '\t':
				out += "\\t";
				break;
			case '\n':
				out += "\\n";
				break;
			case '\r':
				out += "\\r";
				break;
			case '\\':
				out += "\\\\";
				break;
			default:
				out += c;
		}
	}
}

// No more of a text than a person would read.
void add_some(std::string& out, std::string_view text)
{
	if (text.size() <= kLongest) return add_field(out, text);
	size_t length = kLongest;
	while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xc0) == 0x80)
		--length;
	add_field(out, std::string(text.substr(0, length)) + kMore);
}

void add_number(std::string& out, uint64_t number) { add_field(out, std::to_string(number)); }

void add_client(std::string& out, const core::Hub& hub, const core::Session& session)
{
	const net::Connection& connection = Web::connection_of(session);
	out += 'c';
	add_field(out, session.name);
	add_field(out, session.role);
	add_field(out, connection.peer());
	add_field(out, std::to_string(session.connected_at));
	add_number(out, session.subscriptions.size());
	add_number(out, connection.bytes_sent());
	add_number(out, connection.bytes_received());
	add_number(out, hub.waiting(session));
	out += '\n';
	for (const core::Subscription& subscription : session.subscriptions) {
		out += 's';
		add_field(out, session.name);
		add_field(out, subscription.id);
		add_number(out, subscription.relation);
		add_field(out, subscription.channel);
		std::string events;
		for (int op = 0; op < core::kOps; ++op) {
			if (!(subscription.events & core::op_bit(static_cast<core::Op>(op)))) continue;
			if (!events.empty()) events += ',';
			events += core::op_name(static_cast<core::Op>(op));
		}
		add_field(out, events);
		add_field(out, subscription.numbers_as_text ? "text" : "json");
		add_field(out, std::to_string(subscription.since));
		add_field(out, subscription.where ? "w" : "");
		add_some(out, subscription.where ? std::string_view(*subscription.where) : std::string_view());
		add_field(out, subscription.snapshot ? "t" : "f");
		// Their number, then their names; none when it is all of the table's.
		const size_t columns = subscription.columns ? subscription.columns->size() : 0;
		const size_t shown = std::min(columns, kMostColumns);
		add_field(out, subscription.columns ? std::to_string(shown + (shown < columns ? 1 : 0)) : "");
		for (size_t i = 0; i < shown; ++i)
			add_field(out, (*subscription.columns)[i]);
		if (shown < columns) add_field(out, kMore);
		out += '\n';
	}
}

}  // namespace

void Report::answer(const core::Hub& hub)
{
	pg::WorkerSlot& slot = pg::shared_state()->worker[slot_];
	const uint64_t asked = slot.report_asked.load();
	if (asked == slot.report_done.load()) return;
	char unfinished[MAXPGPATH], path[MAXPGPATH];
	pg::report_path(unfinished, slot_, true);
	pg::report_path(path, slot_, false);
	std::string text;
	FILE* file = fopen(unfinished, "w");
	bool good = file != nullptr;
	const auto flush = [&] {
		good = good && fwrite(text.data(), 1, text.size(), file) == text.size();
		text.clear();
	};
	hub.for_each_session([&](const core::Session& session) {
		add_client(text, hub, session);
		if (text.size() > 256 * 1024) flush();
	});
	flush();
	if (file) good = fclose(file) == 0 && good;
	if (!good || rename(unfinished, path) != 0)
		pg::log_line(LOG, "the report for plank.clients could not be written", nullptr,
		             "Make room on the data directory's file system.");
	slot.report_done.store(asked);
}

}  // namespace plank::worker
