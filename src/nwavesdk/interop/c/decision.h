/* From the outputs of a detector to detections: smoothing, threshold, release level and dead time,
 * as in `nwave detect`, step by step. Scores are float32 here and float64 there, so a score that
 * is within rounding of a level may be detected by one of them only.
 *
 * A detection is known after its step. `nwave detect` runs blocks of up to NET_BLOCK_STEPS steps,
 * and reports it at the end of its block. The dead time counts from there, here too, so that the
 * detections are the same.
 */

/* The state of a decision: each stream needs its own. */
typedef struct {
    double free_from;                       /* the end of the dead time [s] */
    uint64_t steps;                         /* the number of steps so far */
    int32_t slot;                           /* the index of the last step in the ring of scores */
    float scores[NET_SMOOTHED][NET_EVENTS];
    float smoothed[NET_EVENTS];             /* means of the ring, which are compared with levels */
    int8_t levels[NET_EVENTS]; /* 1 after a score at the threshold, -1 after one below release */
} net_decision;

/* Starts a stream. */
static inline void net_decision_init(net_decision *state) { memset(state, 0, sizeof *state); }

/* When the last sample that a step needs has arrived [s]; the first step is 0. */
static inline double net_end_of(uint64_t step)
{
    const double frame = (double)(step / NET_HOLD);
    return (frame * NET_FRAME_HOP + NET_FRAME_WIDTH) / NET_FRAME_RATE;
}

/* The time of the last step [s], of which there must be one. */
static inline double net_seconds(const net_decision *state) { return net_end_of(state->steps - 1); }

/* log p(event) - log p(not this event), from the logits of the background and of all events. */
static inline float net_score(const float *outputs, int event)
{
    float largest = outputs[0], sum = 0.0f;
    for (int i = 1; i <= NET_EVENTS; i++)
        if (i != event + 1 && outputs[i] > largest) largest = outputs[i];
    for (int i = 0; i <= NET_EVENTS; i++)
        if (i != event + 1) sum += expf(NET_LOGIT * (outputs[i] - largest));
    return NET_LOGIT * (outputs[event + 1] - largest) - logf(sum);
}

/* Takes the outputs of the next step; returns the detected event, an index of net_events, or -1.
 * Of several events in a step, it is the one with the highest score. */
static inline int net_decide(net_decision *state, const float *outputs)
{
    int best = -1;
    state->slot = (state->slot + 1) % NET_SMOOTHED;
    for (int event = 0; event < NET_EVENTS; event++) {
        const float score = net_score(outputs, event);
        float sum = 0.0f;
        for (int i = 0; i < NET_SMOOTHED; i++) {
            /* Before the first step, scores equal its score. */
            if (i == state->slot || state->steps == 0) state->scores[i][event] = score;
            sum += state->scores[i][event];
        }

        const float mean = sum / (float)NET_SMOOTHED;
        state->smoothed[event] = mean;
        if (mean >= NET_THRESHOLD) {
            const int rises = state->levels[event] < 0;
            if (rises && (best < 0 || mean > state->smoothed[best])) best = event;
            state->levels[event] = 1;
        } else if (mean < NET_RELEASE) {
            state->levels[event] = -1;
        }
    }

    const uint64_t block = state->steps++ / NET_BLOCK_STEPS;
    if (best < 0) return -1;
    const double time = net_end_of(block * NET_BLOCK_STEPS + NET_BLOCK_STEPS - 1);
    if (time < state->free_from) return -1;
    state->free_from = time + NET_DEAD_TIME;
    return best;
}
