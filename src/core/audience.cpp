// Rendering the log for an audience. Runs in the worker. Must not call PostgreSQL.
#include "core/audience.hpp"

#include <algorithm>
#include <map>

#include "core/change_json.hpp"
#include "core/json.hpp"
#include "core/reply.hpp"

namespace plank::core {

namespace {

std::string head_of(const std::vector<std::string>& ids)
{
	if (ids.empty()) return {};
	std::string head = "{\"ids\":[";
	for (const std::string& id : ids) {
		if (head.back() != '[') head += ',';
		append_json_string(head, id);
	}
	return head += ']';
}

}  // namespace

std::string audience_key(const std::string& identity, const std::vector<Subscription>& subscriptions)
{
	std::vector<std::string> parts;
	for (const Subscription& subscription : subscriptions) {
		std::string part;
		append_varint(part, subscription.relation);
		append_varint(part, subscription.events);
		append_varint(part, subscription.numbers_as_text);
		append_counted(part, subscription.channel);
		append_counted(part, subscription.id);
		parts.push_back(std::move(part));
	}
	std::sort(parts.begin(), parts.end());
	std::string key;
	append_counted(key, identity);
	for (const std::string& part : parts)
		key += part;
	return key;
}

Audience::Audience(std::string key, const std::vector<Subscription>& subscriptions, bool catchup) : key_(std::move(key))
{
	if (catchup) {
		catchup_id_ = subscriptions.front().id;
		catchup_ = "\"catchup\":";
		append_json_string(catchup_, catchup_id_);
		catchup_ += ',';
	}
	std::map<uint32_t, std::vector<const Subscription*>> by_table;
	std::map<std::string, std::vector<std::string>> by_channel;
	for (const Subscription& subscription : subscriptions) {
		if (subscription.relation)
			by_table[subscription.relation].push_back(&subscription);
		else
			by_channel[subscription.channel].push_back(subscription.id);
	}
	for (const auto& [relation, watchers] : by_table) {
		WatchedTable watched{relation, 0, {}, {}};
		for (const Subscription* watcher : watchers) {
			watched.ids.push_back(watcher->id);
			watched.events |= watcher->events;
		}
		for (int op = 0; op < kOps; ++op) {
			std::vector<std::string> as_json, as_text;
			for (const Subscription* watcher : watchers)
				if (watcher->events & op_bit(static_cast<Op>(op)))
					(watcher->numbers_as_text ? as_text : as_json).push_back(watcher->id);
			watched.heads.as_json[static_cast<size_t>(op)] = head_of(as_json);
			watched.heads.as_text[static_cast<size_t>(op)] = head_of(as_text);
		}
		relations_.push_back(relation);
		tables_.push_back(std::move(watched));
	}
	for (const auto& [name, ids] : by_channel) {
		channels_.push_back(name);
		watched_channels_.push_back({name, head_of(ids)});
	}
}

const Audience::WatchedTable* Audience::table(uint32_t relation) const noexcept
{
	const auto found = std::lower_bound(tables_.begin(), tables_.end(), relation,
	                                    [](const WatchedTable& a, uint32_t b) { return a.relation < b; });
	return found != tables_.end() && found->relation == relation ? &*found : nullptr;
}

const Audience::WatchedChannel* Audience::channel(std::string_view name) const noexcept
{
	const auto found = std::lower_bound(watched_channels_.begin(), watched_channels_.end(), name,
	                                    [](const WatchedChannel& a, std::string_view b) { return a.channel < b; });
	return found != watched_channels_.end() && found->channel == name ? &*found : nullptr;
}

// Either side may be long: an audience with a thousand channels, a transaction that speaks on a hundred thousand. So the
// shorter one is looked up in the other.
bool Audience::hears(const LogEntry& entry) const noexcept
{
	if (watched_channels_.size() < entry.channels.size())
		return std::any_of(channels_.begin(), channels_.end(), [&](const std::string& name) {
			return std::binary_search(entry.channels.begin(), entry.channels.end(), name);
		});
	return std::any_of(entry.channels.begin(), entry.channels.end(),
	                   [&](const std::string& name) { return channel(name) != nullptr; });
}

bool Audience::watches(const LogEntry& entry) const noexcept
{
	// A plain NOTIFY has no replay.
	if (entry.plain_notify && catches_up()) return false;
	for (const Touched& touched : entry.tables)
		if (const WatchedTable* watched = table(touched.relation); watched && (watched->events & touched.ops))
			return true;
	if (!watched_channels_.empty() && !entry.channels.empty() && hears(entry)) return true;
	for (const Reset& reset : entry.resets)
		if (reset.relation == kAllTables ? !tables_.empty() : table(reset.relation) != nullptr) return true;
	return entry.new_shape && table(entry.new_shape->relation);
}

const Audience::Measure& Audience::measure(const TransactionLog& log, uint64_t from, uint64_t until)
{
	if (measured_.until == until && measured_.from == from) return measured_;
	measured_ = Measure{from, until, {until, 0}, 0, nullptr};
	for (uint64_t number = from; number < until; ++number) {
		const LogEntry& entry = log.at(number);
		if (!watches(entry)) continue;
		if (measured_.first.entry == until) measured_.first = {number, 0};
		measured_.bytes += entry.body().size();
		if (measured_.shape || relations_.empty()) continue;
		for (const ShapePtr& shape : entry.transaction.shapes)
			if (!measured_.shape && shape && shape->relation == relations_.front()) measured_.shape = shape;
	}
	return measured_;
}

Cursor Audience::skip(const TransactionLog& log, Cursor at, uint64_t until) const noexcept
{
	while (at.offset == 0 && at.entry < until && !watches(log.at(at.entry)))
		++at.entry;
	return at;
}

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

// Writes the entry's changes from `at` on as one transaction message; true when the entry has more for the next message.
bool Audience::render_changes(Writer& writer, const LogEntry& entry, Cursor& at) const
{
	const Transaction& transaction = entry.transaction;
	RecordReader reader(entry.body(), at.offset);
	Record record;
	bool open = false;
	size_t start = 0;
	size_t before = at.offset;
	// Neighbouring changes are mostly of one table.
	uint32_t known_shape = UINT32_MAX;
	const WatchedTable* known = nullptr;
	const auto begin_change = [&](const std::string& head) {
		std::string& out = open ? writer.text() : writer.begin();
		if (open) {
			out += ',';
		} else {
			open = true;
			start = out.size();
			out += "{\"type\":\"transaction\",\"xid\":";
			if (entry.plain_notify)
				out += "null";
			else
				out.append("\"").append(std::to_string(transaction.xid)) += '"';
			out += ",\"committed_at\":";
			append_json_time(out, transaction.committed_at);
			out.append(",").append(catchup_) += "\"changes\":[";
		}
		out += head;
	};
	while (reader.next(record)) {
		const WatchedTable* watched = nullptr;
		const WatchedChannel* heard = nullptr;
		const std::string* heads[2] = {nullptr, nullptr};
		if (record.is_change()) {
			if (record.shape != known_shape) {
				known_shape = record.shape;
				known = table(transaction.shapes[known_shape]->relation);
			}
			watched = known;
			if (watched) {
				heads[0] = &watched->heads.as_json[static_cast<size_t>(record.op)];
				heads[1] = &watched->heads.as_text[static_cast<size_t>(record.op)];
			}
		} else if (record.tag == Tag::message) {
			heard = channel(record.channel);
		}
		const bool concerned = heard || (watched && !(heads[0]->empty() && heads[1]->empty()));
		if (concerned && open && writer.size() - start >= kBatchSize) {
			writer.text() += "],\"more\":true}";
			at.offset = before;
			return true;
		}
		if (heard) {
			begin_change(heard->head);
			std::string& out = writer.text();
			out += ",\"channel\":";
			append_json_string(out, heard->channel);
			out.append(",\"op\":\"message\",\"payload\":").append(record.payload) += '}';
		} else if (concerned) {
			const Shape& shape = *transaction.shapes[record.shape];
			for (int form = 0; form < 2; ++form) {
				if (heads[form]->empty()) continue;
				begin_change(*heads[form]);
				std::string& out = writer.text();
				out.append(",\"table\":").append(shape.table_json);
				out.append(",\"op\":\"").append(op_name(record.op)) += '"';
				append_change_members(out, record, shape, form == 1);
				out += '}';
			}
		}
		before = reader.offset();
	}
	return open;
}

void Audience::render_resets(Writer& writer, const LogEntry& entry) const
{
	for (const Reset& reset : entry.resets)
		for (const WatchedTable& watched : tables_)
			if (reset.relation == kAllTables || reset.relation == watched.relation)
				for (const std::string& id : watched.ids)
					writer.begin() += reset_message(id, reset.reason, entry.position);
}

Batch Audience::render(const TransactionLog& log, Cursor from, uint64_t until) const
{
	Batch batch;
	batch.from = from;
	Writer writer(log.at(from.entry).body().size() - from.offset);
	Cursor at = from;
	while (at.entry < until && writer.size() < kBatchSize) {
		const LogEntry& entry = log.at(at.entry);
		if (watches(entry)) {
			if (entry.new_shape)
				if (const WatchedTable* watched = table(entry.new_shape->relation))
					for (const std::string& id : watched->ids)
						writer.begin() += subscribed_message(id, *entry.new_shape, entry.position);
			const size_t offset = at.offset;
			const bool open = render_changes(writer, entry, at);
			if (at.offset != offset) break;  // a part of a large transaction ends this batch
			if (open) {
				std::string& out = writer.text();
				out += "],\"more\":false,\"position\":";
				append_json_string(out, entry.position);
				out += '}';
			}
			render_resets(writer, entry);
			batch.entries_bytes += entry.body().size();
		}
		at = {at.entry + 1, 0};
	}
	batch.to = skip(log, at, until);
	batch.frame = writer.finish();
	return batch;
}

}  // namespace plank::core
