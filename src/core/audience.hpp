// An audience: all sessions of one identity that watch exactly the same things under the same ids. What the log holds for it
// is rendered once, as frames that all its sessions share.
// Runs in the worker. Must not call PostgreSQL.
#pragma once
#ifdef POSTGRES_H
#error "core/ must not see PostgreSQL"
#endif

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/frame.hpp"
#include "core/record.hpp"
#include "core/rights.hpp"
#include "core/seen.hpp"
#include "core/subscription.hpp"
#include "core/transaction_log.hpp"

namespace plank::core {

class Session;

// A place in the log: an entry, and how far into its records.
struct Cursor {
	uint64_t entry = 0;
	size_t offset = 0;
	bool operator==(const Cursor&) const = default;
};

// Some messages for an audience, ready to be sent, and the places in the log between which they stand.
struct Batch {
	Cursor from, to;
	FramePtr frame;                     // null: nothing between the two concerns the audience, or see below
	uint64_t entries_bytes = 0;         // bytes of log behind it, as Audience::bytes counts them
	std::weak_ptr<const Frame> let_go;  // no longer kept, but there while a session is being sent it
	uint64_t serial = 0;                // tells kept batches apart
};

class Audience {
 public:
	// Of one subscription that hears what others have had: its messages say so, leave out what it has seen, and their
	// positions say what that is.
	struct Catchup {
		bool wanted = false;
		SeenPtr seen;
	};

	Audience(std::string key, const std::vector<Subscription>& subscriptions, const Catchup& catchup);

	const std::string& key() const noexcept { return key_; }
	bool catches_up() const noexcept { return !catchup_.empty(); }
	const std::string& catchup_id() const noexcept { return catchup_id_; }
	bool watches(const LogEntry& entry) const noexcept;
	const std::vector<std::string>& channels() const noexcept { return channels_; }
	// What follows the stream's position for its members.
	const std::string& rights() const noexcept { return rights_; }
	std::vector<uint32_t> relations() const;
	// Whether one of the ids is in it, and what makes an audience that sees the same as this one but for those.
	bool has_any(const std::set<std::string_view>& ids) const noexcept;
	std::vector<Subscription> without(const std::set<std::string_view>& ids) const;
	// Calls visit(relation, filter) for each of them; kNoFilter for who wants every row.
	template <typename Visit>
	void for_each_filter(Visit&& visit) const
	{
		for (const WatchedTable& watched : tables_)
			for (const Form& form : watched.forms)
				visit(watched.relation, form.filter);
	}
	bool has_filters() const noexcept { return has_filters_; }

	// Renders from `from` up to entry `until` (exclusive, beyond `from`), about kBatchSize bytes at the most.
	Batch render(const TransactionLog& log, Cursor from, uint64_t until) const;
	// The first place from `at` on, up to entry `until`, where something concerns the audience.
	Cursor skip(const TransactionLog& log, Cursor at, uint64_t until) const noexcept;
	// The entry was logged just now and concerns the audience, and it has been told of all that do since its first.
	void hear(uint64_t entry);

	// What a stretch of the log holds for a catchup audience: where it begins, how many bytes of log it is, and the shape
	// of its table at the beginning (null when nothing there tells).
	struct Measure {
		uint64_t from = 0, until = 0;
		Cursor first;
		uint64_t bytes = 0;
		ShapePtr shape;
		bool has_reset = false;
	};
	// Cheap when it was asked last, as by the many that come back together.
	const Measure& measure(const TransactionLog& log, uint64_t from, uint64_t until);

	// Sessions that have all there was; hub.cpp keeps it.
	std::vector<Session*> idle;
	// Bytes of all entries that it watches, ever; the difference between two times is what waits for a session.
	uint64_t bytes = 0;
	uint64_t last_woken = 0;  // number of the newest entry it was woken for
	size_t members = 0;       // sessions whose audience it is
	// Recent batches, newest last.
	std::vector<Batch> batches;

 private:
	// The subscriptions to a table that see the same of it, with the beginning of a change's JSON for them.
	struct Form {
		struct Watcher {
			std::string id;
			bool with_rows;  // they come again after a reset
			OpSet events;
		};
		std::vector<Watcher> watchers;
		OpSet events = 0;  // of any of them
		bool numbers_as_text = false;
		FilterId filter = kNoFilter;
		uint64_t rights = 0;
		// {"ids":[…] for each operation, or empty; one for all when they want the same events. None for one watcher, as
		// mostly.
		std::unique_ptr<std::vector<std::string>> heads;
		void append_head(std::string& out, Op op) const;
		ColumnNames columns;
		// Of the shape that was rendered last, when some columns are left out; frames are rendered by one thread.
		struct Chosen {
			ShapePtr of;
			std::vector<bool> columns;
		};
		mutable std::unique_ptr<Chosen> chosen;
		const std::vector<bool>& chosen_of(const ShapePtr& shape) const;
	};
	struct WatchedTable {
		uint32_t relation = 0;
		OpSet events = 0;        // that may concern some subscription
		bool every_row = false;  // some have no filter
		size_t unfiltered = 0;   // so many of the forms, which come first; the others are by filter
		std::vector<Form> forms;
	};
	struct WatchedChannel {
		std::string channel;
		std::string head;  // {"ids":[…
		std::vector<std::string> ids;
	};
	class Writer;
	class EntryRenderer;

	static Form make_form(std::span<const Subscription* const> watchers);
	const WatchedTable* table(uint32_t relation) const noexcept;
	const WatchedChannel* channel(std::string_view name) const noexcept;
	bool hears(const LogEntry& entry) const noexcept;
	bool concerns(const Reset& reset) const noexcept;
	template <typename Visit>
	bool for_each_match(const LogEntry& entry, Visit&& visit) const;
	void render_shape(Writer& writer, const LogEntry& entry) const;
	void render_resets(Writer& writer, const LogEntry& entry) const;
	std::string position_of(const LogEntry& entry) const;
	std::string reset_position(const LogEntry& entry, bool with_rows) const;

	std::string key_;
	std::string catchup_;  // the member that follows a transaction's time, or nothing
	std::string catchup_id_;
	SeenPtr seen_;
	std::string suffix_;  // of its positions
	std::string rights_;  // in it
	bool has_filters_ = false;
	// Entries that concern it, in order: all of them from the first one here on, but the latest only.
	std::vector<uint64_t> heard_;
	Measure measured_;
	std::vector<std::string> channels_;
	std::vector<WatchedTable> tables_;              // by relation
	std::vector<WatchedChannel> watched_channels_;  // by name
};

// Calls visit(form, its matches) for each form with a filter that passes some row of the entry, in the order of the forms,
// for as long as it says true; false when it did not. Either side may be long, so the shorter one is looked up in the other.
template <typename Visit>
bool Audience::for_each_match(const LogEntry& entry, Visit&& visit) const
{
	constexpr ptrdiff_t kNear = 4;
	const std::vector<Match>& all = entry.matches;
	for (const WatchedTable& watched : tables_) {
		auto form = watched.forms.begin() + static_cast<ptrdiff_t>(watched.unfiltered);
		if (static_cast<size_t>(watched.forms.end() - form) < all.size()) {
			for (; form != watched.forms.end(); ++form)
				if (const auto matches = entry.matches_of(form->filter); !matches.empty() && !visit(*form, matches))
					return false;
			continue;
		}
		for (auto match = all.begin(); match != all.end();) {
			const FilterId filter = match->filter;
			const auto first = match;
			while (match != all.end() && match->filter == filter)
				++match;
			// Mostly one of the next: forms in a row are read faster than found.
			const auto near = watched.forms.end() - form > kNear ? form + kNear : watched.forms.end();
			while (form != near && form->filter < filter)
				++form;
			if (form == near)
				form = std::lower_bound(form, watched.forms.end(), filter,
				                        [](const Form& a, FilterId b) { return a.filter < b; });
			for (; form != watched.forms.end() && form->filter == filter; ++form)
				if (!visit(*form, std::span<const Match>(first, match))) return false;
		}
	}
	return true;
}

constexpr size_t kBatchSize = 256 * 1024;

// What makes two sessions one audience. `identity`: Identity::key.
std::string audience_key(const std::string& identity, const std::vector<Subscription>& subscriptions);

}  // namespace plank::core
