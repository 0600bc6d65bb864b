package beametl;

import java.io.IOException;
import org.apache.beam.runners.core.StateInternals;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateTag;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.runners.flink.translation.wrappers.streaming.state.FlinkStateInternals;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.coders.StringUtf8Coder;
import org.apache.beam.sdk.state.MapState;
import org.apache.beam.sdk.state.State;
import org.apache.beam.sdk.state.StateSpec;
import org.apache.beam.sdk.state.ValueState;

/**
 * Keeps what is left of a source at the end of each bundle, until a timer goes on with it, in one state by the timer's id.
 *
 * <p>Beam makes a state of its own for each, about one a second and split, and removes none: a stream's checkpoints, its
 * task managers and the time that a restore takes would grow without end (its issue 27648).
 */
public final class Residuals {
  private static final String NAME = "beam_etl_residuals";

  private Residuals() {}

  /** In place of StateTags' method. */
  public static <T> StateTag<ValueState<T>> value(String timer, Coder<T> coder) {
    return new Tag<>(timer, coder);
  }

  /** In place of the state's method, where a bundle has ended. */
  public static State state(StateInternals states, StateNamespace window, StateTag<?> tag) {
    return ((Tag<?>) tag).in(states, window);
  }

  /** In place of the state's method, where a timer goes on. */
  public static State state(FlinkStateInternals<?> states, StateNamespace window, StateTag<?> tag) {
    return ((Tag<?>) tag).in(states, window);
  }

  private static final class Tag<T> implements StateTag<ValueState<T>> {
    private final StateTag<ValueState<T>> beams;
    private final Coder<T> coder;

    Tag(String timer, Coder<T> coder) {
      beams = StateTags.value(timer, coder);
      this.coder = coder;
    }

    Residual<T> in(StateInternals states, StateNamespace window) {
      MapState<String, T> all = states.state(window, StateTags.map(NAME, StringUtf8Coder.of(), coder));
      return new Residual<>(beams, all, states, window);
    }

    @Override
    public void appendTo(Appendable text) throws IOException {
      beams.appendTo(text);
    }

    @Override
    public String getId() {
      return beams.getId();
    }

    @Override
    public StateSpec<ValueState<T>> getSpec() {
      return beams.getSpec();
    }

    @Override
    public ValueState<T> bind(StateTag.StateBinder binder) {
      return beams.bind(binder);
    }
  }

  private static final class Residual<T> implements ValueState<T> {
    private final StateTag<ValueState<T>> beams;
    private final MapState<String, T> all;
    private final StateInternals states;
    private final StateNamespace window;

    Residual(StateTag<ValueState<T>> beams, MapState<String, T> all, StateInternals states, StateNamespace window) {
      this.beams = beams;
      this.all = all;
      this.states = states;
      this.window = window;
    }

    @Override
    public void write(T value) {
      all.put(beams.getId(), value);
    }

    /** Takes it out: a timer comes once. Where it isn't, a savepoint of Beam's own has it. */
    @Override
    public T read() {
      T value = all.get(beams.getId()).read();
      if (value == null) {
        ValueState<T> alone = states.state(window, beams);
        value = alone.read();
        alone.clear();
      }
      clear();
      return value;
    }

    @Override
    public ValueState<T> readLater() {
      return this;
    }

    @Override
    public void clear() {
      all.remove(beams.getId());
    }
  }
}
