package botsieve;

import java.nio.file.Files;
import java.util.Map;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/** The engine's job in Flink SQL on a local mini-cluster; its last line says what it wrote. */
public final class FlinkJob {
    private static final int PARALLELISM = 2;

    private static final String EVENTS =
            """
            CREATE TABLE events (
              unix_time BIGINT, category_id BIGINT, ip STRING, `type` STRING,
              event_time AS TO_TIMESTAMP_LTZ(unix_time, 0),
              WATERMARK FOR event_time AS event_time - INTERVAL '10' SECOND
            ) WITH (
              'connector' = 'kafka', 'format' = 'json',
              'properties.bootstrap.servers' = '%s', 'topic' = '%s',
              'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset'
            )""";

    /** The columns are those of {@link Verdict}. */
    private static final String COUNTS =
            """
            SELECT ip, window_start, COUNT(*) AS n,
              COUNT(*) FILTER (WHERE `type` = 'click') AS clicks,
              COUNT(*) FILTER (WHERE `type` = 'view') AS `views`,
              COUNT(DISTINCT category_id) AS categories
            FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '10' SECOND))
            GROUP BY ip, window_start, window_end""";

    private FlinkJob() {}

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String topic = args[1];
        String redis = args[2];
        var env = StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM, settings());
        var tables = StreamTableEnvironment.create(env);
        tables.executeSql(EVENTS.formatted(bootstrap, topic));
        tables.toDataStream(tables.sqlQuery(COUNTS)).sinkTo(new RedisSink(redis));
        env.execute();
        System.out.println(RedisSink.totals());
    }

    /** One-phase aggregation is what matters most: local pre-aggregation reduces little here. */
    private static Configuration settings() throws Exception {
        String checkpoints = Files.createTempDirectory("checkpoints").toUri().toString();
        return Configuration.fromMap(
                Map.of(
                        "table.optimizer.agg-phase-strategy", "ONE_PHASE",
                        "table.local-time-zone", "UTC",
                        "pipeline.object-reuse", "true",
                        "state.backend.type", "hashmap",
                        "execution.checkpointing.interval", "10 s",
                        "execution.checkpointing.dir", checkpoints,
                        "taskmanager.memory.network.min", "128 mb",
                        "taskmanager.memory.network.max", "128 mb"));
    }
}
