// Rendering the log for an audience. Runs in the worker, inside network callbacks. Must not call PostgreSQL.
#include <algorithm>
#include <span>

#include "core/audience.hpp"
#include "core/change_json.hpp"
#include "core/json.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

// Matches of one filter that are looked at together. A message ends after about kBatchSize, so more would be looked at again.
constexpr size_t kMatchesAtOnce = 4096;

}  // namespace

// Collects messages into one buffer: `[` m `,` m … `]`, or just m.
class Audience::Writer {
 public:
	// `expected`: bytes of the records to be written; their JSON is some times as long.
	explicit Writer(size_t expected)
	{
		buffer_.reserve(Frame::kHeadroom + std::min(kBatchSize + kBatchSize / 16, 512 + 4 * expected));
		buffer_.append(Frame::kHeadroom, '\0');
		buffer_ += '[';
	}
	size_t size() const noexcept { return buffer_.size(); }
	std::string& begin()
	{
		if (messages_++) buffer_ += ',';
		return buffer_;
	}
	std::string& text() noexcept { return buffer_; }
	FramePtr finish()
	{
		if (messages_ == 0) return nullptr;
		if (messages_ == 1)
			buffer_.erase(Frame::kHeadroom, 1);
		else
			buffer_ += ']';
		if (buffer_.capacity() > buffer_.size() + buffer_.size() / 4) buffer_.shrink_to_fit();
		return Frame::adopt(std::move(buffer_));
	}

 private:
	std::string buffer_;
	size_t messages_ = 0;
};

// Writes one entry's changes as one transaction message, or a part of it.
class Audience::EntryRenderer {
 public:
	EntryRenderer(const Audience& audience, Writer& writer, const LogEntry& entry, size_t offset)
	    : audience_(audience), writer_(writer), entry_(entry)
	{
		find_matches(offset);
	}

	// Goes on until the message is full. True when the transaction has more for the next message, from `offset` on.
	bool render(size_t& offset) { return reads_all() ? render_all(offset) : render_matches(offset); }
	bool is_open() const noexcept { return open_; }

 private:
	struct FormMatch {
		const Form* form;
		Match match;
	};

	// The rows from `from` on that pass the audience's filters, in the order of the records: as many as one message may
	// hold, and all of them up to `known_until_`.
	void find_matches(size_t from)
	{
		matches_.clear();
		known_until_ = SIZE_MAX;
		if (!audience_.has_filters_ || entry_.matches.empty()) return;
		audience_.for_each_match(entry_, [&](const Form& form, std::span<const Match> all) {
			find_matches(form, all, from);
			return true;
		});
		std::erase_if(matches_, [&](const FormMatch& match) { return match.match.offset > known_until_; });
		const auto before = [](const FormMatch& a, const FormMatch& b) { return a.match.offset < b.match.offset; };
		if (!std::is_sorted(matches_.begin(), matches_.end(), before))
			std::stable_sort(matches_.begin(), matches_.end(), before);
	}

	void find_matches(const Form& form, std::span<const Match> all, size_t from)
	{
		const auto before = [](const Match& match, size_t offset) { return match.offset < offset; };
		auto match = std::lower_bound(all.begin(), all.end(), from, before);
		// Of many forms few are in the cache, and this one is written from soon.
		__builtin_prefetch(form.watchers.data());
		for (size_t left = kMatchesAtOnce; match != all.end() && left > 0; ++match, --left)
			matches_.push_back({&form, *match});
		if (match != all.end()) known_until_ = std::min(known_until_, matches_.back().match.offset);
	}

	// Whether there may be something beside the rows that filters have found.
	bool reads_all() const noexcept
	{
		if (!entry_.channels.empty() && !audience_.watched_channels_.empty()) return true;
		for (const Touched& touched : entry_.tables)
			if (const WatchedTable* watched = audience_.table(touched.relation))
				if ((watched->every_row && (watched->events & touched.ops)) || (touched.ops & op_bit(Op::truncate)))
					return true;
		return false;
	}

	bool render_all(size_t& offset)
	{
		RecordReader reader(entry_.body(), offset);
		Record record;
		size_t next = 0;
		for (size_t at = offset; reader.next(record); at = reader.offset()) {
			if (at > known_until_) {
				find_matches(at);
				next = 0;
			}
			size_t end = next;
			while (end < matches_.size() && matches_[end].match.offset == at)
				++end;
			if (!write(record, next, end)) {
				offset = at;
				return true;
			}
			next = end;
		}
		return false;
	}

	bool render_matches(size_t& offset)
	{
		for (size_t next = 0;;) {
			if (next == matches_.size()) {
				if (known_until_ == SIZE_MAX) return false;
				find_matches(known_until_ + 1);
				next = 0;
				continue;
			}
			const size_t at = matches_[next].match.offset;
			size_t end = next;
			while (end < matches_.size() && matches_[end].match.offset == at)
				++end;
			RecordReader reader(entry_.body(), at);
			Record record;
			if (reader.next(record) && !write(record, next, end)) {
				offset = at;
				return true;
			}
			next = end;
		}
	}

	// Writes what the record is for each form; the matches from `next` to `end` are its own. False: the message is full,
	// and the record belongs into the next one.
	bool write(const Record& record, size_t next, size_t end)
	{
		if (record.tag == Tag::message) {
			const WatchedChannel* heard = audience_.channel(record.channel);
			return !heard || write_message(record, *heard);
		}
		if (!record.is_change()) return true;
		const ShapePtr& shape = entry_.transaction.shapes[record.shape];
		// Neighbouring changes are mostly of one table.
		if (shape->relation != known_relation_) {
			known_relation_ = shape->relation;
			known_ = audience_.table(known_relation_);
		}
		if (!known_) return true;
		bool first = true;
		// False: the message is full.
		const auto write_for = [&](const Form& form, const Match* match) {
			View view = View::whole(record, form.numbers_as_text);
			if (match && !translate(*match, record, view)) return true;
			if (!(form.events & op_bit(view.op))) return true;
			// What happens to other columns is nobody's business who may not read them, and news to nobody else.
			if (form.columns && view.op == Op::update) {
				view.columns = &form.chosen_of(shape);
				if (!shows_update(record, *shape, *view.columns)) return true;
			}
			// A message may end before a record, not within it.
			if (first && is_full()) return false;
			first = false;
			write_change(record, shape, form, view);
			return true;
		};
		// A connection may have a thousand forms, and most changes concern one: the others are not looked at.
		const size_t all = record.op == Op::truncate ? known_->forms.size() : known_->unfiltered;
		for (size_t i = 0; i < all; ++i)
			if (!write_for(known_->forms[i], nullptr)) return false;
		for (; next < end; ++next)
			if (!write_for(*matches_[next].form, &matches_[next].match)) return false;
		return true;
	}

	// What the change is to whoever sees the filter's rows alone (protocol.md rule 4).
	static bool translate(const Match& match, const Record& record, View& view)
	{
		if (record.op == Op::insert) return match.after;
		if (record.op == Op::remove) return match.before;
		if (match.before && match.after) return true;
		view.op = match.after ? Op::insert : Op::remove;
		view.by_update = true;
		return match.before || match.after;
	}

	// Ends the message when it is large enough.
	bool is_full()
	{
		if (!open_ || writer_.size() - start_ < kBatchSize) return false;
		writer_.text() += "],\"more\":true}";
		return true;
	}

	std::string& begin()
	{
		std::string& out = open_ ? writer_.text() : writer_.begin();
		if (open_) {
			out += ',';
		} else {
			open_ = true;
			start_ = out.size();
			out += "{\"type\":\"transaction\",\"xid\":";
			if (entry_.plain_notify)
				out += "null";
			else
				out.append("\"").append(std::to_string(entry_.transaction.xid)) += '"';
			out += ",\"committed_at\":";
			append_json_time(out, entry_.transaction.committed_at);
			out.append(",").append(audience_.catchup_) += "\"changes\":[";
		}
		return out;
	}

	bool write_message(const Record& record, const WatchedChannel& heard)
	{
		if (is_full()) return false;
		std::string& out = begin();
		out.append(heard.head) += ",\"channel\":";
		append_json_string(out, heard.channel);
		out.append(",\"op\":\"message\",\"payload\":").append(record.payload) += '}';
		return true;
	}

	void write_change(const Record& record, const ShapePtr& shape, const Form& form, View& view)
	{
		if (form.columns) view.columns = &form.chosen_of(shape);
		std::string& out = begin();
		form.append_head(out, view.op);
		out.append(",\"table\":").append(shape->table_json);
		out.append(",\"op\":\"").append(op_name(view.op)) += '"';
		append_change_members(out, record, *shape, view);
		out += '}';
	}

	const Audience& audience_;
	Writer& writer_;
	const LogEntry& entry_;
	std::vector<FormMatch> matches_;
	size_t known_until_ = SIZE_MAX;
	uint32_t known_relation_ = 0;
	const WatchedTable* known_ = nullptr;
	bool open_ = false;
	size_t start_ = 0;
};

std::string Audience::position_of(const LogEntry& entry) const { return entry.position + suffix_; }

// Who gets the rows again has nothing to go on from before they are there.
std::string Audience::reset_position(const LogEntry& entry, bool with_rows) const
{
	return with_rows ? entry.position + std::string(kUnread) : position_of(entry);
}

// The shape of its table from here on.
void Audience::render_shape(Writer& writer, const LogEntry& entry) const
{
	const WatchedTable* watched = table(entry.new_shape->relation);
	if (!watched) return;
	for (const Form& form : watched->forms)
		for (const Form::Watcher& watcher : form.watchers)
			writer.begin() += subscribed_message(watcher.id, *entry.new_shape, form.columns, position_of(entry));
}

void Audience::render_resets(Writer& writer, const LogEntry& entry) const
{
	for (const Reset& reset : entry.resets)
		for (const WatchedTable& watched : tables_)
			for (const Form& form : watched.forms) {
				if (reset.relation != kAllTables && reset.relation != watched.relation) break;
				if (!reset.concerns(form.columns.get())) continue;
				for (const Form::Watcher& watcher : form.watchers)
					writer.begin() += reset_message(watcher.id, reset.reason, reset_position(entry, watcher.with_rows));
			}
}

Batch Audience::render(const TransactionLog& log, Cursor from, uint64_t until) const
{
	Batch batch;
	batch.from = from;
	Writer writer(log.at(from.entry).body().size() - from.offset);
	Cursor at = from;
	for (at = skip(log, at, until); at.entry < until && writer.size() < kBatchSize;
	     at = skip(log, {at.entry + 1, 0}, until)) {
		const LogEntry& entry = log.at(at.entry);
		if (entry.new_shape) render_shape(writer, entry);
		EntryRenderer renderer(*this, writer, entry, at.offset);
		if (renderer.render(at.offset)) break;  // a part of a large transaction ends this batch
		if (renderer.is_open()) {
			std::string& out = writer.text();
			out += "],\"more\":false,\"position\":";
			append_json_string(out, position_of(entry));
			out += '}';
		}
		render_resets(writer, entry);
		batch.entries_bytes += entry.body().size();
	}
	batch.to = skip(log, at, until);
	batch.frame = writer.finish();
	return batch;
}

}  // namespace plank::core
