// Dates and times as JSON strings in ISO 8601, UTC. Years 1 to 9999 are written here; infinity, years BC and beyond go
// through PostgreSQL's own encoder. Runs in ordinary sessions, inside pg::call.
#include <cstdint>

#include "pg/values.hpp"

#include "backend/json_value.hpp"

namespace plank::backend {
namespace {

// Days from 2000-01-01 to 0001-01-01 and to 10000-01-01.
constexpr int32 kFirstDay = 1721426 - POSTGRES_EPOCH_JDATE;
constexpr int32 kEndDay = 5373485 - POSTGRES_EPOCH_JDATE;

constexpr size_t kDateTimeLength = 40;

bool has_four_digit_year(int64 day) { return day >= kFirstDay && day < kEndDay; }

// Years that begin in March, so that the leap day comes last and months follow one line: 153 days in every five.
char* put_date(char* to, int32 day)
{
	constexpr unsigned kDaysIn400Years = 146097, kDaysBefore2000 = 730425;  // since 0000-03-01
	const unsigned days = static_cast<unsigned>(day + static_cast<int32>(kDaysBefore2000));
	const unsigned cycle = days / kDaysIn400Years;
	const unsigned day_of_cycle = days % kDaysIn400Years;
	const unsigned year_of_cycle =
	    (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / (kDaysIn400Years - 1)) / 365;
	const unsigned day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
	const unsigned month_from_march = (5 * day_of_year + 2) / 153;
	const unsigned day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
	const unsigned month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
	const unsigned year = cycle * 400 + year_of_cycle + (month <= 2 ? 1 : 0);

	to = put_two_digits(to, year / 100);
	to = put_two_digits(to, year % 100);
	*to++ = '-';
	to = put_two_digits(to, month);
	*to++ = '-';
	return put_two_digits(to, day_of_month);
}

// Microseconds of the day, up to and including 24:00:00; the fraction without its trailing zeros.
char* put_time(char* to, int64 time)
{
	const auto fraction = static_cast<unsigned>(time % USECS_PER_SEC);
	const auto seconds = static_cast<unsigned>(time / USECS_PER_SEC);
	to = put_two_digits(to, seconds / 3600);
	*to++ = ':';
	to = put_two_digits(to, seconds / 60 % 60);
	*to++ = ':';
	to = put_two_digits(to, seconds % 60);
	if (fraction != 0) {
		*to++ = '.';
		to = put_two_digits(to, fraction / 10000);
		to = put_two_digits(to, fraction / 100 % 100);
		to = put_two_digits(to, fraction % 100);
		while (to[-1] == '0')
			to--;
	}
	return to;
}

void append_rare(StringInfo out, Datum value, Oid type)
{
	const int utc = 0;
	char text[MAXDATELEN + 1];
	JsonEncodeDateTime(text, value, type, type == TIMESTAMPTZOID ? &utc : nullptr);
	const size_t length = strlen(text);

	char* to = reserve(out, length + 2);
	*to++ = '"';
	to = put(to, text, length);
	*to++ = '"';
	commit(out, to);
}

template <bool with_zone>
void append_timestamp(StringInfo out, Datum value)
{
	const Timestamp timestamp = DatumGetTimestamp(value);
	int64 day = timestamp / USECS_PER_DAY;
	int64 time = timestamp % USECS_PER_DAY;
	if (time < 0) {
		time += USECS_PER_DAY;
		day--;
	}
	if (unlikely(!has_four_digit_year(day))) {
		append_rare(out, value, with_zone ? TIMESTAMPTZOID : TIMESTAMPOID);
		return;
	}

	char* to = reserve(out, kDateTimeLength);
	*to++ = '"';
	to = put_date(to, static_cast<int32>(day));
	*to++ = 'T';
	to = put_time(to, time);
	if (with_zone) to = put(to, "+00:00", 6);
	*to++ = '"';
	commit(out, to);
}

}  // namespace

void print_date(StringInfo out, const ValueOutput*, Datum value)
{
	const DateADT day = DatumGetDateADT(value);
	if (unlikely(!has_four_digit_year(day))) {
		append_rare(out, value, DATEOID);
		return;
	}

	char* to = reserve(out, kDateTimeLength);
	*to++ = '"';
	to = put_date(to, day);
	*to++ = '"';
	commit(out, to);
}

void print_time(StringInfo out, const ValueOutput*, Datum value)
{
	char* to = reserve(out, kDateTimeLength);
	*to++ = '"';
	to = put_time(to, DatumGetTimeADT(value));
	*to++ = '"';
	commit(out, to);
}

void print_timestamp(StringInfo out, const ValueOutput*, Datum value) { append_timestamp<false>(out, value); }

void print_timestamptz(StringInfo out, const ValueOutput*, Datum value) { append_timestamp<true>(out, value); }

}  // namespace plank::backend
