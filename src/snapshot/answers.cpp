// Batches of rows and the messages around them. Runs in the process that reads.
#include "snapshot/answers.hpp"

#include "snapshot/patience.hpp"

namespace plank::snapshot {

namespace {

constexpr int kBatch = 64 * 1024;
constexpr int kLargestKept = 1024 * 1024;

}  // namespace

void Answers::begin(core::SnapshotMessage kind)
{
	if (unlikely(!buffer_.data)) {
		const MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
		initStringInfo(&buffer_);
		MemoryContextSwitchTo(caller);
	}
	resetStringInfo(&buffer_);
	appendStringInfoChar(&buffer_, static_cast<char>(kind));
	const uint32_t number = worker_.number();
	appendBinaryStringInfo(&buffer_, reinterpret_cast<const char*>(&number), sizeof number);
}

void Answers::send_buffer()
{
	Patience::note_wait(true);
	if (!worker_.send(buffer_.data, static_cast<Size>(buffer_.len))) unwanted_ = true;
	Patience::note_wait(false);
	if (unwanted_) ereport(ERROR, (errcode(ERRCODE_CONNECTION_DOES_NOT_EXIST), errmsg("plank worker has gone")));
}

StringInfo Answers::begin_row()
{
	Patience::note_row();
	if (rows_ == 0) {
		begin(core::SnapshotMessage::rows);
		appendBinaryStringInfo(&buffer_, reinterpret_cast<const char*>(&rows_), sizeof rows_);
	} else {
		appendStringInfoChar(&buffer_, ',');
	}
	return &buffer_;
}

void Answers::end_row()
{
	++rows_;
	if (buffer_.len >= kBatch) send_rows();
}

void Answers::send_rows()
{
	if (rows_ == 0) return;
	memcpy(buffer_.data + core::kMessageHead, &rows_, sizeof rows_);
	rows_ = 0;
	send_buffer();
}

void Answers::send(core::SnapshotMessage kind, std::string_view content)
{
	begin(kind);
	appendBinaryStringInfo(&buffer_, content.data(), static_cast<int>(content.size()));
	send_buffer();
}

void Answers::recover()
{
	rows_ = 0;
	if (!worker_.finish()) unwanted_ = true;
}

void Answers::shrink()
{
	if (buffer_.maxlen <= kLargestKept) return;
	pfree(buffer_.data);
	buffer_ = StringInfoData{};
}

}  // namespace plank::snapshot
