"""What each advice rests on, by its code.

`Advice.explanation` and the report show these texts. They are also the source of the
section on advice in docs/diagnostics.md (tests/tools/write_explanations.py writes it).
"""

EXPLANATIONS = {
    "first-update-zero": (
        "The first recorded updates had learning rate 0. One such update is harmless "
        "and usual: as in optax, a warmup's progress is step / steps, which is 0 at "
        "the first update. With offset=1 it is (step + 1) / steps. If the rate was 0 "
        "at every update, it is a problem: optax.linear_schedule(0.0, peak, 0), for "
        "one, stays at 0 for ever."
    ),
    "rate-unknown": (
        "No state in the optimizer holds the learning rate, none was given to "
        "read_moments, and the updates that record_moments saw show none: they are "
        "Adam's direction itself, because the rate is applied outside of the wrapper, "
        "or they have little to do with it. Without a rate there is no peak, and "
        "nothing is said about the length of the warmup. Where groups have different "
        "rates the advice is rate-estimated instead."
    ),
    "rate-estimated": (
        "The rate of a step is exact where the updates are multiples of Adam's "
        "direction (of nadam's, for nadam), which is found by trying the optimizer, "
        "or where they agree with what the states tell to 1%. At more than half of the "
        "recorded steps it was neither. Either groups of parameters have rates of "
        "their own, so that a single number is their mean weighted by the squares of "
        "the updates. Or the direction is another: radam's first updates, the trust "
        "ratios of lamb, noise, an eps that record_moments was not told. Then the "
        "states' number is used if there is one, and else the rate by least squares."
    ),
    "updates-climb": (
        "At most of the recorded steps with a rate, the updates were a positive "
        "multiple of Adam's direction, where descent takes a negative one. The usual "
        "cause is two learning rates in one chain, as in "
        "chain(adamw(3e-4), scale_by_learning_rate(schedule)): each flips the sign, "
        "and 3e-4 leaves no trace in the state. A record around scale_by_adam alone is "
        "not meant, as its updates are the direction itself."
    ),
    "schedule-ahead": (
        "A schedule, or the factor of a warmup, had counted at least 1.5 times as many "
        "updates as the moments had seen, and the rate was not constant. So it stands "
        "behind optax.MultiSteps instead of inside it, where it is called with every "
        "microbatch."
    ),
    "warmup-short": (
        "The learning rate first came within 1% of its highest value when the "
        "effective sample size of nu was below 22 (at 22 the relative standard error "
        "of nu_hat, sqrt(2 / 22), is 30%) or below 60% of its largest possible value, "
        "whichever is smaller, and the RMS of the update before the learning rate was "
        "still more than 1.5 times its value in pure noise: nu did not yet tell "
        "gradients apart. That alone does no harm at a low rate. So a warning also "
        "needs a sign of harm in the next 30 updates: an update of more than 3% of "
        "the weights, a mean alignment below -0.2, or a median loss that rose by a "
        "quarter. Where no gradients, parameters or losses were recorded it is a note. "
        "It does not say that a warmup must last until nu has settled: in our runs the "
        "best length was about the same for b2 = 0.95 and b2 = 0.999, and grew with "
        "the peak rate."
    ),
    "warmup-long": (
        "The warmup took at least 100 updates and a fifth of the record, the effective "
        "sample size of nu had reached 90% of its largest possible value before a "
        "quarter of the warmup was over, the mean alignment in its second half was "
        "above 0.1, and no update changed the weights by 0.1%. Nothing in the record "
        "called for such a long warmup."
    ),
    "updates-large": (
        "The median update-to-weight ratio over the first 8 records at the peak rate "
        "is above 1% (a note) or 3% (a warning); 0.1% is typical. Small networks bear "
        "more than large ones. Groups whose weights are nearly 0 (RMS below 1e-3), "
        "such as biases that start at 0, are not named."
    ),
    "beyond-stability": (
        "Either a measured sharpness was above its stability threshold, "
        "(2 + 2 b1) / (1 - b1) / rate (38 / rate for b1 = 0.9; Cohen et al. 2022, "
        "arXiv:2207.14484), at the rate of its step. The first 1 / (1 - b1) updates do "
        "not count, as the threshold holds for settled momentum. Full-batch training "
        "stays close to the threshold. With small batches the sharpness stays far "
        "below it (at a hundredth, in our healthy runs), so being below it proves "
        "little. Or, where it was not measured or was below, the alignment over 8 or "
        "more records in a row at the peak rate was below -0.4 on average and negative "
        "in more than 80% of them: each gradient pointed against the step before. "
        "Beyond the threshold Adam oscillates like this. Gradient noise makes the "
        "alignment negative too, but less: healthy runs with small batches stayed "
        "above -0.3. In strong noise a network can be beyond the threshold without "
        "showing it here."
    ),
    "suggested-warmup": (
        "Appears only beside a warning about the warmup or the peak rate. The length "
        "is peak / (5e-4 * RMS of the weights at the start): the slope at which a "
        "linear warmup did about as well as the best tuned length on small "
        "transformers (0.1 million parameters, batches of 12 sequences, peak rates "
        "from 3e-3 to 3e-1). With batch_size it is divided by sqrt(batch_size / 12), "
        "as the best slope grew about like that. A length above a fifth of the "
        "updates in the record (or in the losses, if they go further) is not "
        "suggested; then the advice gives the peak rate that the same slope reaches "
        "within a fifth. Either is a starting point for a search, not a measurement."
    ),
    "update-spikes": (
        "The normalized gradient RMS, that of g / sqrt(nu_hat), was above the value it "
        "has when the gradient is suddenly k = 2.3 times as large: "
        "k / sqrt(1 + w (k^2 - 1)), where w = (1 - b2) / (1 - b2^n) is the weight of "
        "the newest gradient in nu_hat. For b2 near 1 that is 2.3, the spike of "
        "Wortsman et al. 2023 (arXiv:2304.13013), who saw the loss follow within 1 to "
        "8 updates. For b2 = 0.95 it is 2.09; the largest possible value there is "
        "1 / sqrt(1 - b2) = 4.5. In groups of few coordinates the statistic is noisy, "
        "so their threshold is raised by the factor 1 + 4 / sqrt(2 size). Records at "
        "less than a tenth of the peak rate do not count. Without recorded gradients, "
        "their RMS since the previous record is computed from nu. It is a problem if a "
        "loss spike followed (a loss that is NaN, or more than 3.2 standard deviations "
        "above the mean of the 20 before it), a note if the losses show none, and a "
        "warning without losses."
    ),
    "gradients-vanish": (
        "Over the last two thirds of the records, the median gradient RMS of a group "
        "is below 1e-4 of that of the largest group. If such groups hold less than 1% "
        "of the coordinates it is a note: the biases of attention keys, for one, have "
        "no gradient by construction. A group without any gradient is a note too, as "
        "it may be frozen on purpose."
    ),
    "gradients-explode": (
        "The gradient RMS of a group over the last 5 records is more than 30 times its "
        "median over all records, and above 1% of that of the largest group."
    ),
    "eps-dominates": (
        "In the later half of the records, sqrt(nu_hat) is below eps in 10% or more of "
        "a group's coordinates, and its RMS is below 10 eps. Where the RMS is far "
        "above eps, most such coordinates never had a gradient (unseen tokens, dead "
        "units); that is harmless, and a note."
    ),
    "moments-frozen": (
        "nu is stored in a dtype in which it cannot decrease: one update lowers it by "
        "a fraction of at most 1 - b2, which is below a quarter of the dtype's epsilon "
        "and always rounded away. bfloat16 (epsilon 2^-7) fails for b2 above 0.998, "
        "float16 for b2 above 0.9998. From the dtype alone it is a warning. It is a "
        "problem if it is seen: the sum of a group's nu did not change in a single bit "
        "over 6 or more records, in which nu would have lost a quarter without "
        "gradients, while the recorded gradients say that it should change."
    ),
    "huge-gradient": (
        "The largest sqrt(nu_hat) of a group is more than 100 times that of the other "
        "coordinates and decays by exactly b2 an update, while the others do not. So "
        "one gradient of that size came, once. Until nu has forgotten it, which takes "
        "about log(ratio^2) / (1 - b2) updates, the updates of that coordinate are too "
        "small by the same ratio."
    ),
    "not-finite": (
        "nu holds NaN or infinity, which is a problem, as it never recovers; or only "
        "the gradients did, which is a warning. optax_warmup.skip_nonfinite skips such "
        "updates and leaves parameters and moments as they were."
    ),
    "spikes-skipped": (
        "optax_warmup.guards.skip_spikes left out updates whose loss or gradient norm "
        "jumped up. A few in a long run are usual, and a note. More than one in a "
        "hundred updates is a warning: then it is not the data that is unusual."
    ),
    "rmsprop-start": (
        "optax.rmsprop starts nu at 0 and does not correct the bias by default. After "
        "n updates nu is too small by the factor 1 - b2^n, and the update too large by "
        "1 / sqrt(1 - b2^n): 32 times at the first update for b2 = 0.999. The advice "
        "appears if the learning rate times that factor was more than twice the peak "
        "rate. bias_correction=True removes the cause; a linear warmup over "
        "2 / (1 - b2) updates compensates for it."
    ),
    "constants-differ": (
        "After the first update mu_hat^2 equals nu_hat whatever the gradient was, so "
        "the statistic snr is 1. Another value means that record_moments was given "
        "other constants b1 or b2 than the optimizer uses, in a nesting where it "
        "cannot find them. adabelief, whose nu is centred at mu, has 1 / b1^2 and is "
        "left alone."
    ),
    "automatic-no-start": (
        "`automatic_warmup` multiplies updates by 0 until the first one that has a "
        "gradient and a step that are finite and not zero, and did so at the last "
        "recorded step: its relative size S was still 0. A schedule that stays at 0, "
        "gradients that are all zero, or NaN in every batch do that."
    ),
    "automatic-limits": (
        "The factor of `automatic_warmup` was below a half at the last recorded step. "
        "It rises like the square root of the number of updates, so a factor f after t "
        "updates becomes 1 at about update t / f^2. With feedback it rises no faster "
        "than that, and falls while new gradients point against the last update."
    ),
    "automatic-no-decay": (
        "The first factor of `automatic_warmup` was below 1, so the peak needed a "
        "warmup, and at the last recorded step, 200 or later, the schedule without the "
        "factor was within 5% of its highest value so far. Without feedback nothing "
        "lowers a rate that is too high; a decay would, and the record cannot know "
        "whether one comes. Nor does it tell whether the peak is too high or noise "
        "dominates: its statistics did not separate runs that lose by it from others."
    ),
    "batch-large": (
        "In the second half of the record the upper bound on the gradient noise scale "
        "was known at 8 or more steps, and nowhere above an eighth of the batch (nor "
        "below a thousandth, as where each update sees all of the data). By "
        "McCandlish et al. 2018 (arXiv:1812.06162), a batch of B needs "
        "1 + B_crit / B times the fewest possible updates and 1 + B / B_crit times "
        "the fewest possible examples, where B_crit is about the noise scale: at "
        "B = 8 B_crit, larger batches could save one update in nine, and smaller ones "
        "eight examples in nine. The noise scale usually rises during training, most "
        "at its beginning."
    ),
    "batch-small": (
        "In the second half of the record the gradient noise scale was known at 8 or "
        "more steps, and at most of them above 4 batches: by the same formula, such a "
        "batch needs 5 times the fewest possible updates or more, and 1.25 times the "
        "fewest possible examples or less. Where the mean gradient turns within "
        "1 / (1 - b1) updates the estimate is too large, so it is not used above "
        "(1 + b1) / (1 - b1) / 2 batches, and this advice does not appear in most runs "
        "with a batch that is too small. It is a hint to try a larger batch."
    ),
    "empty-record": (
        "No update is recorded: none was made, or all of them had record=False, or the "
        "steps that record_moments was asked for come later."
    ),
}
