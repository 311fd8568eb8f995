package botsieve;

import java.io.IOException;
import java.net.URI;
import java.util.concurrent.atomic.LongAccumulator;
import java.util.concurrent.atomic.LongAdder;
import org.apache.flink.api.connector.sink2.Sink;
import org.apache.flink.api.connector.sink2.SinkWriter;
import org.apache.flink.api.connector.sink2.WriterInitContext;
import org.apache.flink.types.Row;
import redis.clients.jedis.Jedis;
import redis.clients.jedis.Pipeline;

/** SETEX of each row and of the decision where it is flagged, in pipelines; a connection a task. */
final class RedisSink implements Sink<Row> {
    private static final int PIPELINE_COMMANDS = 5_000;
    private static final long TTL_S = 600;

    // The mini-cluster's tasks share this JVM, so they can share their totals.
    private static final LongAdder ROWS = new LongAdder();
    private static final LongAdder FLAGGED = new LongAdder();
    private static final LongAdder COUNTED = new LongAdder();
    private static final LongAccumulator ENDED_MS = new LongAccumulator(Math::max, 0);

    private final String url;

    RedisSink(String url) {
        this.url = url;
    }

    static String totals() {
        return "{\"rows\":" + ROWS
                + ",\"flagged\":" + FLAGGED
                + ",\"counted\":" + COUNTED
                + ",\"ended_s\":" + ENDED_MS.get() / 1000.0
                + "}";
    }

    @Override
    public SinkWriter<Row> createWriter(WriterInitContext context) {
        return new Writer(new Jedis(URI.create(url)));
    }

    private static final class Writer implements SinkWriter<Row> {
        private final Jedis connection;
        private final Pipeline pipeline;
        private int queued;

        Writer(Jedis connection) {
            this.connection = connection;
            this.pipeline = connection.pipelined();
        }

        @Override
        public void write(Row row, Context context) throws IOException {
            var verdict = Verdict.of(row);
            var json = verdict.json();
            set("stat_" + verdict.ip(), json);
            if (verdict.flagged()) {
                set("bot_" + verdict.ip(), json);
                FLAGGED.increment();
            }
            ROWS.increment();
            COUNTED.add(verdict.events());
            if (queued >= PIPELINE_COMMANDS) {
                flush(false);
            }
        }

        private void set(String key, String value) {
            pipeline.setex(key, TTL_S, value);
            queued++;
        }

        /** Flink calls this before each checkpoint and at the end of the input. */
        @Override
        public void flush(boolean endOfInput) throws IOException {
            if (queued == 0) {
                return;
            }
            for (Object reply : pipeline.syncAndReturnAll()) {
                if (reply instanceof RuntimeException refusal) {
                    throw new IOException(refusal);
                }
            }
            queued = 0;
            ENDED_MS.accumulate(System.currentTimeMillis());
        }

        @Override
        public void close() {
            pipeline.close();
            connection.close();
        }
    }
}
