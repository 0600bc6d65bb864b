package beametl;

import java.util.ArrayDeque;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.Elements;
import org.apache.beam.runners.fnexecution.data.FnDataService;
import org.apache.beam.sdk.fn.data.BeamFnDataGrpcMultiplexer;
import org.apache.beam.sdk.fn.data.BeamFnDataInboundObserver;
import org.apache.beam.sdk.fn.data.BeamFnDataOutboundAggregator;
import org.apache.beam.sdk.fn.data.CloseableFnDataReceiver;

/**
 * Hands what a worker sends on to Flink while its bundle runs.
 *
 * <p>Beam would do so when the bundle has ended, and keep up to 100 messages of 10 to 25 MB until then. In batch a bundle
 * is all that a task reads: more output than that, or than the heap holds, and the job hangs. Here a thread of each
 * bundle takes messages as they come, and the worker waits while more than HELD_BYTES wait for Flink.
 */
public final class Drain implements CloseableFnDataReceiver<Elements> {
  /** With one message more, what a bundle has on the heap at most. One message is large enough to be worth waiting for. */
  private static final long HELD_BYTES = 1 << 20;

  /** Until a thread that was interrupted must have left Flink's writers. */
  private static final long LEAVE_MILLIS = 10_000;

  private static final Map<BeamFnDataInboundObserver, Drain> DRAINS = new ConcurrentHashMap<>();

  /** That of the bundle which this thread begins. */
  private static final ThreadLocal<Drain> BEGINNING = new ThreadLocal<>();

  private final BeamFnDataInboundObserver observer;
  private final Thread thread;
  private final Queue<Elements> waiting = new ArrayDeque<>();
  private long held;
  private boolean over;
  private Throwable failure;
  private volatile BeamFnDataGrpcMultiplexer stream;

  private Drain(BeamFnDataInboundObserver observer, String bundle) {
    this.observer = observer;
    thread = new Thread(this::run, "output of bundle " + bundle);
    thread.setDaemon(true);
    thread.start();
  }

  /** In place of FnDataService.registerReceiver, when a bundle begins. */
  public static void registerReceiver(
      FnDataService service, String bundle, CloseableFnDataReceiver<Elements> receiver) {
    BeamFnDataInboundObserver observer = (BeamFnDataInboundObserver) receiver;
    Drain drain = new Drain(observer, bundle);
    DRAINS.put(observer, drain);
    BEGINNING.set(drain);
    try {
      service.registerReceiver(bundle, drain);
    } catch (RuntimeException thrown) {
      giveUpBeginning(thrown);
      throw thrown;
    }
  }

  /** In place of the service's method: where it fails there is no bundle that would end its drain. */
  public static BeamFnDataOutboundAggregator createOutboundAggregator(
      FnDataService service, Supplier<String> bundle, boolean collects) {
    try {
      return service.createOutboundAggregator(bundle, collects);
    } catch (RuntimeException thrown) {
      giveUpBeginning(thrown);
      throw thrown;
    } finally {
      BEGINNING.remove();
    }
  }

  /** Ends the drain of a bundle that fails before there is anybody who would. */
  private static void giveUpBeginning(Throwable thrown) {
    Drain drain = BEGINNING.get();
    if (drain != null) {
      BEGINNING.remove();
      DRAINS.remove(drain.observer);
      drain.end(thrown);
    }
  }

  /** In place of the observer's method: what came with the response of the worker. */
  public static void accept(BeamFnDataInboundObserver observer, Elements elements) throws Exception {
    DRAINS.get(observer).accept(elements);
  }

  /** In place of the observer's method: returns when Flink has all output of the bundle. */
  public static void awaitCompletion(BeamFnDataInboundObserver observer) throws Exception {
    Drain drain = DRAINS.get(observer);
    try {
      drain.thread.join();
    } catch (InterruptedException cancelled) {
      close(observer);
      throw cancelled;
    }
    DRAINS.remove(observer);
    if (drain.failure instanceof Exception) {
      throw (Exception) drain.failure;
    }
    if (drain.failure != null) {
      throw (Error) drain.failure;
    }
  }

  /** In place of the observer's method, when a bundle has failed. */
  public static void close(BeamFnDataInboundObserver observer) throws Exception {
    observer.close();
    Drain drain = DRAINS.remove(observer);
    if (drain != null) {
      drain.close();
    }
  }

  /** Ends the bundles that wait for more of a stream on which nothing comes any more. */
  static void lose(BeamFnDataGrpcMultiplexer stream) {
    for (Drain drain : DRAINS.values()) {
      if (drain.stream == stream) {
        drain.end(new IllegalStateException("the worker was lost before all output of its bundle had come"));
      }
    }
  }

  void comesFrom(BeamFnDataGrpcMultiplexer stream) {
    this.stream = stream;
  }

  /** Called by the thread that reads the worker's stream. */
  @Override
  public synchronized void accept(Elements elements) throws Exception {
    while (held > HELD_BYTES && !over) {
      wait();
    }
    if (over) {
      throw new IllegalStateException("the bundle has ended", failure);
    }
    held += elements.getSerializedSize();
    waiting.add(elements);
    notifyAll();
  }

  @Override
  public void flush() {}

  @Override
  public void close() throws Exception {
    end(new IllegalStateException("the bundle was given up"));
    thread.interrupt();
    thread.join(LEAVE_MILLIS);
  }

  private void run() {
    try {
      boolean complete = false;
      while (!complete) {
        Elements elements = next();
        if (elements == null) {
          return;
        }
        complete = observer.multiplexElements(elements.getDataList().iterator(), elements.getTimersList().iterator());
        release(elements.getSerializedSize());
      }
      end(null);
    } catch (Throwable thrown) {
      end(thrown);
    }
  }

  /** Null when the bundle has ended. */
  private synchronized Elements next() throws InterruptedException {
    while (waiting.isEmpty() && !over) {
      wait();
    }
    return over ? null : waiting.remove();
  }

  private synchronized void release(long bytes) {
    held -= bytes;
    notifyAll();
  }

  private synchronized void end(Throwable thrown) {
    if (!over) {
      over = true;
      failure = thrown;
      waiting.clear();
      notifyAll();
    }
  }
}
