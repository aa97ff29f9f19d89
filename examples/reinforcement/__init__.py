"""PPO on CartPole in one jitted program, with two warmups.

In reading order: environment, agent, ppo, variants, figure, and __main__, the command.
"""
