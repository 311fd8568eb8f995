package botsieve;

import java.time.LocalDateTime;
import java.time.ZoneOffset;
import org.apache.flink.types.Row;

/** The counts of one address in one window, and what `rules=seed` says of them. */
record Verdict(String ip, long start, long events, long clicks, long views, long categories) {
    private static final int WINDOW_S = 10;
    private static final int LIMIT = 10;
    private static final int MAX_CLICKS_PER_VIEW = 3;

    static Verdict of(Row row) {
        var start = ((LocalDateTime) row.getField(1)).toEpochSecond(ZoneOffset.UTC);
        return new Verdict(
                (String) row.getField(0),
                start,
                count(row, 2),
                count(row, 3),
                count(row, 4),
                count(row, 5));
    }

    private static long count(Row row, int column) {
        return (Long) row.getField(column);
    }

    boolean flagged() {
        return events > LIMIT
                || views == 0
                || clicks / views > MAX_CLICKS_PER_VIEW
                || categories > LIMIT;
    }

    String json() {
        return "{\"window_start\":" + start
                + ",\"window_end\":" + (start + WINDOW_S)
                + ",\"events\":" + events
                + ",\"clicks\":" + clicks
                + ",\"views\":" + views
                + ",\"categories\":" + categories
                + "}";
    }
}
