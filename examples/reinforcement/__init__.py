"""PPO on CartPole, all in one jitted program, with two warmups.

One file per concept, in reading order: environment, agent, ppo, variants, figure, and
__main__, which compares. README.md has the commands.
"""
