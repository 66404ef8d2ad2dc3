// plank-load: connects a number of WebSocket clients to one gateway, lets writers change a table, checks that every
// client got every change once and in order, and prints one JSON object of counts and times.
// Exit code 0: exact; 1: a client missed or repeated a change or was cut off, or a writer failed; 2: bad usage.
#include <sys/resource.h>
#include <unistd.h>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "arguments.hpp"
#include "swarm.hpp"
#include "writers.hpp"

namespace plank::bench {

namespace {

constexpr const char* kUsage = R"(plank-load: WebSocket clients and PostgreSQL writers in one process
  --port N           the gateway's port                 --path P        of the upgrade request (/)
  --subscribe T      subscribe to table T by plank.v1   --clients N     connections (1; 0: only write)
  --conninfo C       of the writers                     --table T       where they insert
  --writers N        (1)                                --note N        bytes of filling in a row (115)
  --warmup N         transactions before the measured   --stall MS      give up when nothing arrives (30000)
  --cpu-of PID       the gateway, to tell its CPU time
and what is measured, one of
  --inserts N [--rate R]   transactions of one row, all writers together
  --seconds S              transactions of one row for so long
  --rows N                 one transaction of N rows
  --hold                   nothing: print {"ready":N} and keep the connections until standard input ends
)";

void raise_descriptor_limit()
{
	rlimit limit{};
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

double thread_cpu_seconds()
{
	timespec time{};
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

// User and system time of another process; 0 when there is none.
double process_cpu_seconds(unsigned pid)
{
	std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
	std::string line;
	if (pid == 0 || !std::getline(file, line)) return 0;
	std::istringstream fields(line.substr(line.rfind(')') + 2));
	std::string skipped;
	for (int i = 3; i < 14; ++i)
		fields >> skipped;
	double user = 0;
	double system = 0;
	fields >> user >> system;
	return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

class Run {
 public:
	explicit Run(const Arguments& arguments)
	    : clients_(arguments.count("--clients", 1)),
	      warmup_(arguments.count("--warmup", 0)),
	      stall_ms_(static_cast<int>(arguments.count("--stall", 30000))),
	      pid_(arguments.count("--cpu-of", 0)),
	      writers_({.conninfo = arguments.text("--conninfo", ""),
	                .table = arguments.text("--table", ""),
	                .writers = arguments.count("--writers", 1),
	                .note_size = arguments.count("--note", 115)}),
	      swarm_({.port = static_cast<uint16_t>(arguments.count("--port", 0)),
	              .path = arguments.text("--path", "/"),
	              .subscribe = arguments.text("--subscribe", ""),
	              .clients = clients_,
	              .writers = arguments.count("--writers", 1)},
	             [this](Mark mark) { return writers_.sent_at(mark); })
	{
		const unsigned writers = arguments.count("--writers", 1);
		job_.inserts = (arguments.count("--inserts", 0) + writers - 1) / writers;
		job_.rate = arguments.number("--rate", 0);
		job_.seconds = arguments.number("--seconds", 0);
		job_.rows = arguments.count("--rows", 0);
		if ((job_.inserts > 0) + (job_.seconds > 0) + (job_.rows > 0) != 1)
			throw std::invalid_argument("exactly one of --inserts, --seconds and --rows is wanted");
		warmup_ = (warmup_ + writers - 1) / writers;
	}

	void measure()
	{
		swarm_.connect();
		if (warmup_ > 0) perform({.inserts = warmup_});
		swarm_.reset_counts();

		const double own_cpu = thread_cpu_seconds();
		const double gateway_cpu = process_cpu_seconds(pid_);
		const uint64_t committed_before = writers_.committed();
		perform(job_);
		const double own_cpu_used = thread_cpu_seconds() - own_cpu;
		const double gateway_cpu_used = process_cpu_seconds(pid_) - gateway_cpu;
		const SwarmCounts counts = swarm_.counts();
		const uint64_t committed = writers_.committed() - committed_before;
		const int64_t start = writers_.first_start_ns();
		const int64_t commit_sent = writers_.commit_sent_ns();
		const Histogram commits = writers_.commit_times();
		const int64_t written = writers_.last_end_ns();
		const Histogram latency = swarm_.latency();
		const int64_t arrived = swarm_.last_delivery_ns();

		// One more change after all others: what a client got twice stands before it.
		perform({.rows = 1});
		if (clients_ > 0) swarm_.close();

		const auto seconds = [&](int64_t until, int64_t from) { return static_cast<double>(until - from) / 1e9; };
		std::cout << "{\"clients\":" << clients_ << ",\"changes\":" << committed
		          << ",\"deliveries\":" << counts.deliveries << ",\"write_seconds\":" << seconds(written, start);
		if (clients_ > 0)
			std::cout << ",\"seconds\":" << seconds(arrived, start) << ",\"latency_ns\":" << percentiles(latency)
			          << ",\"messages\":" << counts.messages << ",\"bytes\":" << counts.bytes
			          << ",\"reads\":" << counts.reads << ",\"client_cpu_seconds\":" << own_cpu_used
			          << ",\"gateway_cpu_seconds\":" << gateway_cpu_used;
		if (clients_ > 0 && job_.rows > 0) std::cout << ",\"seconds_after_commit\":" << seconds(arrived, commit_sent);
		std::cout << ",\"commit_ns\":" << percentiles(commits) << "}" << std::endl;
	}

 private:
	// Writes, and receives until every client has all of it.
	void perform(const Job& job)
	{
		bool joined = false;
		const auto all_arrived = [&] {
			if (!joined && writers_.finished()) {
				writers_.join();
				joined = true;
			}
			return joined && swarm_.total() >= writers_.committed() * clients_;
		};
		writers_.start(job);
		try {
			swarm_.run_until(all_arrived, stall_ms_);
		} catch (const std::exception& error) {
			if (!joined) throw;
			throw std::runtime_error(std::string(error.what()) + "; the clients lack " +
			                         std::to_string(swarm_.lacking(writers_.last())) + " changes");
		}
	}

	unsigned clients_;
	unsigned warmup_;
	int stall_ms_;
	unsigned pid_;
	Job job_;
	Writers writers_;
	Swarm swarm_;
};

void hold(const Arguments& arguments)
{
	Swarm swarm({.port = static_cast<uint16_t>(arguments.count("--port", 0)),
	             .path = arguments.text("--path", "/"),
	             .subscribe = arguments.text("--subscribe", ""),
	             .clients = arguments.count("--clients", 1),
	             .writers = 1},
	            [](Mark) { return 0; });
	swarm.connect();
	std::cout << "{\"ready\":" << arguments.count("--clients", 1) << "}" << std::endl;
	swarm.hold();
	swarm.close();
}

}  // namespace

}  // namespace plank::bench

int main(int argc, char** argv)
{
	using namespace plank::bench;
	try {
		const Arguments arguments(argc, argv, kUsage, "--hold");
		raise_descriptor_limit();
		if (arguments.count("--hold", 0) != 0)
			hold(arguments);
		else
			Run(arguments).measure();
		return 0;
	} catch (const std::invalid_argument& error) {
		std::cerr << "plank-load: " << error.what() << "\n" << kUsage;
		return 2;
	} catch (const std::exception& error) {
		std::cerr << "plank-load: " << error.what() << "\n";
		return 1;
	}
}
