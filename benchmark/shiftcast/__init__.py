"""Shiftcast: how accurate will an image classifier be on data that nobody has labelled?"""
